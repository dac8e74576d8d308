"""Every example and every command in README.md and docs/ works.

A page is run from top to bottom, as its reader would, in a folder with the
files it speaks of (`docs_world`): each ```python block in one namespace, each
command of this package in a ```bash block in this process, on tiny images.
`docs_tables` lists what cannot run, with the reason.
"""

import importlib.util
import json
import linecache
import os
import shlex
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests import docs_pages
from tests import docs_tables
from tests import docs_world
from tests.docs_pages import PAGES

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
kernel = encoder.get_layer("stem_conv").kernel
before = np.array(kernel.numpy())
assert np.isfinite(model.fit(images, labels, verbose=0).history["loss"])
assert np.any(kernel.numpy() != before)
"""


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


def run(words, folder, monkeypatch):
    """Runs a command of this package as in the folder, in this process."""
    program, arguments = docs_pages.ours(words)
    arguments = docs_world.smaller(
        program, docs_pages.in_folder(arguments, folder), folder
    )
    try:
        docs_pages.start(program, arguments, monkeypatch)
    except SystemExit as exit:
        assert not exit.code, f"`{shlex.join(words)}` ended with {exit.code}"
    finally:
        docs_pages.reset_flags()


def walk(page, world, folder, monkeypatch):
    """Runs a page from top to bottom in a copy of the world."""
    shutil.copytree(world, folder, dirs_exist_ok=True)
    docs_pages.prepare(page, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    namespace = {"__name__": "__main__", **docs_world.names()}
    keras.config.set_max_epochs(1)
    for block in docs_pages.blocks(page):
        if block.language == "python" and not docs_pages.is_unable(block.text):
            execute(
                f"{page}:{block.line}",
                docs_pages.python(page, block),
                namespace,
            )
        for words in docs_pages.commands(block):
            if docs_pages.ours(words) and not docs_pages.is_unable(
                shlex.join(words)
            ):
                run(words, folder, monkeypatch)


def execute(name, text, namespace):
    """Runs code whose source AutoGraph and tracebacks find by its name."""
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    exec(compile(text, name, "exec"), namespace)


def walk_without_this_package(page, world, folder):
    """Runs a page's Python in a process that cannot import this package."""
    shutil.copytree(world, folder, dirs_exist_ok=True)
    parts = [
        (f"{page}:{block.line}", docs_pages.python(page, block))
        for block in docs_pages.blocks(page)
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


@pytest.mark.slow
@pytest.mark.parametrize("page", docs_tables.PLAIN)
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
@pytest.mark.parametrize(
    "page", [p for p in PAGES if p not in docs_tables.PLAIN]
)
def test_page_runs(page, world_with_run, tmp_path, monkeypatch):
    try:
        walk(page, world_with_run, tmp_path, monkeypatch)
    finally:
        keras.config.set_max_epochs(None)
