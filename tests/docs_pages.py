"""What the documentation's pages say, and how its commands are started."""

import configparser
import importlib
import pathlib
import re
import runpy
import shlex
import sys

from simclr_keras.flags import catalogue
from tests import docs_tables
from tests import docs_world
from tests import markdown

ROOT = pathlib.Path(__file__).parent.parent
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
)
# What else the folder of a page needs.
_PREPARED = {"docs/google_checkpoints.md": docs_world.google_checkpoint}


def prepare(page, folder):
    """Writes what this page needs and others do not."""
    if page in _PREPARED:
        _PREPARED[page](folder)


def blocks(page):
    return markdown.blocks((ROOT / page).read_text(encoding="utf-8"))


def is_script(block):
    return any(line in block.text for line in docs_tables.SCRIPTS)


def commands(block):
    """Commands of a ```bash block, without whole scripts."""
    if block.language not in docs_tables.SHELL or is_script(block):
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
    return any(part in text for part in docs_tables.UNABLE)


def other(words):
    """Whether a command is one of `OTHERS`, or begins a script of ours."""
    begins = any(
        shlex.join(words).startswith(name) for name in docs_tables.OTHERS
    )
    return begins or words[0] == "python" and (ROOT / words[1]).is_file()


def python(page, block, used=None):
    """The block's code, which tracebacks show at its place in the page."""
    text = block.text
    for old, new in docs_tables.SMALLER.get(page, {}).items():
        if old in text:
            text = text.replace(old, new)
            used is None or used.add((page, old))
    return "\n" * block.line + text


def in_folder(arguments, folder):
    """The arguments with /some/path as a path below the folder."""
    return [
        re.sub(r"^(--\w+=)(/.*)$", rf"\g<1>{folder}\g<2>", argument)
        for argument in arguments
    ]


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
