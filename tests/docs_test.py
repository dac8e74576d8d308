"""Every example and every command in README.md and docs/ works.

A page is run from top to bottom, as its reader would, in a folder with the
files it speaks of (`docs_world`): each ```python block in one namespace, each
command of this package in a ```bash block in this process, on tiny images.
What cannot run is in the tables below, with the reason; its flags are parsed.
A block or a command that is neither fails.
"""

import argparse
import configparser
import importlib
import importlib.util
import json
import linecache
import os
import pathlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from simclr_keras import flags
from simclr_keras.flags import catalogue
from simclr_keras.flags import console
from tests import docs_world
from tests import markdown

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
)

# Pages for those who have not installed this package: it cannot be imported.
PLAIN = ("docs/keras.md",)

SHELL = ("bash", "sh")
# Languages of blocks that do nothing, and what those are.
INERT = {"": "files, or what a program prints", "yaml": "for Kubernetes"}
# Commands that are not this package's, and how else they are tested.
OTHERS = {
    "curl": "needs a server; tests/export asks for the same by gRPC",
    "docker": "the image is not at hand",
    "export": "sets a variable",
    "find": "lists files for a command that needs a server",
    "make": "CI runs what is behind it",
    "pip install": "CI begins with it",
    "pytest": "runs this file",
}
# Commands of this package whose flags are parsed, and Python blocks that
# compile, but which do not run: a part of them, and why.
UNABLE = {
    'Client("localhost:8500"': "needs a server; tests/export/client_test.py",
    "--dataset=cifar10": "downloads",
    "--dataset=imagenet2012": "downloads by hand only",
    "--dataset=stl10": "downloads",
    "--mode=eval": "tests/eval_mode_test.py follows a run",
    "simclr-client": "needs a server; tests/export/client_test.py",
    "--init_from=r50_1x_sk0": "a ResNet-50, where docs_world has a ResNet-18",
}
# Scripts as a whole: a line of them, and why. Flags in them are looked up.
SCRIPTS = {
    "#!/bin/bash": "needs SLURM",
    "find /usr/share/icons/oxygen/base": "needs the files of a Debian package",
}
# What is replaced in the Python blocks of a page so that they take seconds.
SMALLER = {
    "README.md": {
        "depth=18,": "depth=18, width=0.125,",
        "features=512": "features=64",
        "blur=False": "blur=False, jit_compile=False",
    },
    "docs/training_in_keras.md": {
        "depth=18,": "depth=18, width=0.125,",
        "blur=False": "blur=False, jit_compile=False",
        "512": "80",
        "256": "40",
        "depth=4": "depth=1",
    },
}
# What else the folder of a page needs.
PREPARED = {"docs/google_checkpoints.md": docs_world.google_checkpoint}

HINT = (
    "Mend the page; or, if this cannot run in a test, say so with the reason "
    "in the tables of tests/docs_test.py. Files that it needs are written by "
    "tests/docs_world.py."
)
_PLAIN_KERAS = """
import json
import linecache
import sys

sys.modules["simclr_keras"] = None  # Its import raises.
for name, text in json.load(sys.stdin):
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    exec(compile(text, name, "exec"))
assert not [name for name in sys.modules if name.startswith("simclr_keras.")]
"""
_TORCH = """
import sys

sys.modules["simclr_keras"] = sys.modules["tensorflow"] = None
import keras
import numpy as np

assert keras.config.backend() == "torch"
encoder = keras.models.load_model("encoder.keras")
images, labels = np.load("images.npy"), np.load("labels.npy")
np.save("embeddings.npy", encoder.predict(images, verbose=0))
model = keras.Sequential([encoder, keras.layers.Dense(2)])
model.compile(
    "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
)
before = [np.array(w.numpy()) for w in encoder.trainable_weights]
assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"])
for old, new in zip(before, encoder.trainable_weights, strict=True):
    assert np.any(old != new.numpy()), new.path
"""


def blocks(page):
    return markdown.blocks((ROOT / page).read_text(encoding="utf-8"))


def is_script(block):
    return any(line in block.text for line in SCRIPTS)


def commands(block):
    """Commands of a ```bash block, without whole scripts."""
    if block.language not in SHELL or is_script(block):
        return []
    return markdown.commands(block.text)


def ours(words):
    """(program, arguments) of a command of this package, or None."""
    if words[:2] == ["python", "train.py"]:
        return "simclr-train", words[2:]
    if words[:2] == ["python", "-m"] and words[2].startswith("simclr_keras."):
        return words[2], words[3:]
    if words[0].startswith("simclr-"):
        return words[0], words[1:]
    return None


def is_unable(text):
    """Whether `UNABLE` says why this is not run."""
    return any(part in text for part in UNABLE)


def other(words):
    """Whether a command is one of `OTHERS`, or begins a script of ours."""
    begins = any(shlex.join(words).startswith(name) for name in OTHERS)
    return begins or words[0] == "python" and (ROOT / words[1]).is_file()


def python(page, block, used=None):
    """The block's code, which tracebacks show at its place in the page."""
    text = block.text
    for old, new in SMALLER.get(page, {}).items():
        if old in text:
            text = text.replace(old, new)
            used is None or used.add((page, old))
    return "\n" * block.line + text


class Parsed(Exception):
    """The command line was accepted."""


@pytest.fixture
def parse(page, monkeypatch, capsys, tmp_path):
    """Parses a command's flags; returns what is printed if it is refused."""
    docs_world.build(tmp_path)
    PREPARED.get(page, lambda folder: None)(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def then_stop(function):
        def parsed(*args, **kwargs):
            function(*args, **kwargs)
            raise Parsed

        return parsed

    for owner, name in (
        (console.Console, "parse"),
        (argparse.ArgumentParser, "parse_args"),
    ):
        monkeypatch.setattr(owner, name, then_stop(getattr(owner, name)))

    def parse(program, arguments):
        arguments = [a for a in in_folder(arguments, tmp_path) if a != "..."]
        try:
            if program == "simclr-train":
                monkeypatch.setattr(sys, "argv", [program, *arguments])
                flags.resolve(flags.parse(), image_size=96, num_examples=10**6)
            else:
                start(program, arguments, monkeypatch)
        except Parsed:
            pass
        except SystemExit as exit:
            return capsys.readouterr().err if exit.code else None
        finally:
            reset_flags()
        return None

    return parse


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The folder with an encoder; quickly made."""
    folder = tmp_path_factory.mktemp("docs")
    docs_world.build(folder)
    docs_world.add_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def world_with_run(tmp_path_factory):
    """The folder with the run that README.md begins with."""
    folder = tmp_path_factory.mktemp("docs")
    docs_world.build(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        run(["python", "train.py"], folder, monkeypatch)
    docs_world.add_run(folder)
    return folder


def in_folder(arguments, folder):
    """The arguments with /some/path as a path below the folder."""
    return [
        re.sub(r"^(--\w+=)(/.*)$", rf"\g<1>{folder}\g<2>", argument)
        for argument in arguments
    ]


def run(words, folder, monkeypatch):
    """Runs a command of this package as in the folder, in this process."""
    program, arguments = ours(words)
    arguments = docs_world.smaller(
        program, in_folder(arguments, folder), folder
    )
    try:
        start(program, arguments, monkeypatch)
    except SystemExit as exit:
        assert not exit.code, f"`{shlex.join(words)}` ended with {exit.code}"
    finally:
        reset_flags()


def start(program, arguments, monkeypatch):
    """Calls what the console script, or `python -m`, calls."""
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    if program.startswith("simclr_keras."):
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        return
    assert program in entry_points(), f"setup.cfg has no {program}"
    module, _, function = entry_points()[program].partition(":")
    getattr(importlib.import_module(module), function)()


def entry_points():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].split("\n")
    return dict(re.split(r"\s*=\s*", line) for line in lines if line)


def reset_flags():
    for flag in catalogue.definitions().values():
        flag.unparse()


@pytest.mark.parametrize("page", PAGES)
class TestEveryPage:
    def test_has_blocks_of_known_languages(self, page):
        known = {"python", *SHELL, *INERT}
        for block in blocks(page):
            assert block.language in known, f"{page}:{block.line}: {HINT}"
            if not block.language:
                found = re.search(
                    r"^\$? ?(python|pip|simclr-\w+) ", block.text, re.M
                )
                assert not found, f"{page}:{block.line}: write ```bash"
            if block.language == "python":
                compile(python(page, block), page, "exec")

    def test_has_commands_that_parse(self, page, parse):
        for block in blocks(page):
            for words in commands(block):
                where = f"{page}:{block.line}: `{shlex.join(words)}`"
                if (command := ours(words)) is None:
                    assert other(words), f"{where} is not run. {HINT}"
                elif problem := parse(*command):
                    pytest.fail(f"{where} is refused:\n{problem}\n{HINT}")

    def test_names_flags_that_exist(self, page):
        known = known_flags()
        text = (ROOT / page).read_text(encoding="utf-8")
        for program, names in markdown.mentioned(text):
            for name in names:
                assert name.removeprefix("no") in known or name in known, (
                    f"{page}: {program} has no flag --{name}. {HINT}"
                )


def known_flags():
    """Names of the flags of all programs, those of train.py and others."""
    found = {"help", "flagfile", "markdown", "update", "output"}
    found.update(catalogue.definitions())
    for path in (ROOT / "flags").glob("*_cli.py"):
        module = importlib.import_module(f"simclr_keras.flags.{path.stem}")
        found.update(module._REGISTRY)
    return found


def walk(page, world, folder, monkeypatch):
    """Runs a page from top to bottom in a copy of the world."""
    shutil.copytree(world, folder, dirs_exist_ok=True)
    PREPARED.get(page, lambda folder: None)(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    namespace = {"__name__": "__main__", **docs_world.names()}
    keras.config.set_max_epochs(1)
    for block in blocks(page):
        if block.language == "python" and not is_unable(block.text):
            execute(f"{page}:{block.line}", python(page, block), namespace)
        for words in commands(block):
            if ours(words) and not is_unable(shlex.join(words)):
                run(words, folder, monkeypatch)


def execute(name, text, namespace):
    """Runs code whose source AutoGraph and tracebacks find by its name."""
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    exec(compile(text, name, "exec"), namespace)


def walk_without_this_package(page, world, folder):
    """Runs a page's Python in a process that cannot import this package."""
    shutil.copytree(world, folder, dirs_exist_ok=True)
    parts = [
        (f"{page}:{block.line}", python(page, block))
        for block in blocks(page)
        if block.language == "python"
    ]
    run_apart(_PLAIN_KERAS, folder, json.dumps(parts), KERAS_MAX_EPOCHS="1")


def run_apart(program, folder, text="", **variables):
    """Runs Python code in a process of its own, without PYTHONPATH."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    finished = subprocess.run(
        [sys.executable, "-c", program],
        input=text,
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("page", PLAIN)
def test_page_runs_without_this_package(page, world, tmp_path):
    walk_without_this_package(page, world, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)
def test_encoder_works_under_pytorch(world, tmp_path):
    shutil.copyfile(world / "encoder.keras", tmp_path / "encoder.keras")
    names = docs_world.names()
    for name in ("images", "labels"):
        np.save(tmp_path / f"{name}.npy", names[name])
    run_apart(_TORCH, tmp_path, KERAS_BACKEND="torch")
    encoder = keras.models.load_model(world / "encoder.keras")
    np.testing.assert_allclose(
        np.load(tmp_path / "embeddings.npy"),
        encoder(names["images"]),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
@pytest.mark.filterwarnings("ignore:Limiting epochs")
@pytest.mark.parametrize("page", [p for p in PAGES if p not in PLAIN])
def test_page_runs(page, world_with_run, tmp_path, monkeypatch):
    try:
        walk(page, world_with_run, tmp_path, monkeypatch)
    finally:
        keras.config.set_max_epochs(None)


def test_tables_list_nothing_that_is_gone():
    pages = [(page, block) for page in PAGES for block in blocks(page)]
    texts = [block.text for _, block in pages]
    listed = [shlex.join(w) for _, b in pages for w in commands(b)]
    for part in UNABLE:
        assert any(part in text for text in [*listed, *texts]), part
    for name in OTHERS:
        assert any(text.startswith(name) for text in listed), name
    for line in SCRIPTS:
        assert any(line in text for text in texts), line
    used = set()
    for page, block in pages:
        if block.language == "python":
            python(page, block, used)
    assert used == {(p, old) for p in SMALLER for old in SMALLER[p]}
    assert {*PLAIN, *PREPARED} <= set(PAGES)
