"""Every example and every command in README.md and docs/ is well-formed.

Blocks are of known languages, Python compiles, the flags of this package's
commands parse, and commands that are not this package's are listed in
`docs_tables`. `docs_run_test` runs them.
"""

import argparse
import importlib
import re
import shlex
import sys

import pytest

from simclr_keras import flags
from simclr_keras.flags import catalogue
from simclr_keras.flags import console
from tests import docs_pages
from tests import docs_tables
from tests import docs_world
from tests import markdown
from tests.docs_pages import PAGES
from tests.docs_pages import ROOT

HINT = (
    "Mend the page; or, if this cannot run in a test, say so with the reason "
    "in tests/docs_tables.py. Files that it needs are written by "
    "tests/docs_world.py."
)


class Parsed(Exception):
    """The command line was accepted."""


@pytest.fixture
def parse(page, monkeypatch, capsys, tmp_path):
    """Parses a command's flags; returns what is printed if it is refused."""
    docs_world.build(tmp_path)
    docs_pages.prepare(page, tmp_path)
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
        arguments = [
            a for a in docs_pages.in_folder(arguments, tmp_path) if a != "..."
        ]
        try:
            if program == "simclr-train":
                monkeypatch.setattr(sys, "argv", [program, *arguments])
                flags.resolve(flags.parse(), image_size=96, num_examples=10**6)
            else:
                docs_pages.start(program, arguments, monkeypatch)
        except Parsed:
            pass
        except SystemExit as exit:
            return capsys.readouterr().err if exit.code else None
        finally:
            docs_pages.reset_flags()
        return None

    return parse


@pytest.mark.parametrize("page", PAGES)
class TestEveryPage:
    def test_has_blocks_of_known_languages(self, page):
        known = {"python", *docs_tables.SHELL, *docs_tables.INERT}
        for block in docs_pages.blocks(page):
            assert block.language in known, f"{page}:{block.line}: {HINT}"
            if not block.language:
                found = re.search(
                    r"^\$? ?(python|pip|simclr-\w+) ", block.text, re.M
                )
                assert not found, f"{page}:{block.line}: write ```bash"
            if block.language == "python":
                compile(docs_pages.python(page, block), page, "exec")

    def test_has_commands_that_parse(self, page, parse):
        for block in docs_pages.blocks(page):
            for words in docs_pages.commands(block):
                where = f"{page}:{block.line}: `{shlex.join(words)}`"
                if (command := docs_pages.ours(words)) is None:
                    assert docs_pages.other(words), (
                        f"{where} is not run. {HINT}"
                    )
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


def test_tables_list_nothing_that_is_gone():
    pages = [
        (page, block) for page in PAGES for block in docs_pages.blocks(page)
    ]
    texts = [block.text for _, block in pages]
    listed = [shlex.join(w) for _, b in pages for w in docs_pages.commands(b)]
    for part in docs_tables.UNABLE:
        assert any(part in text for text in [*listed, *texts]), part
    for name in docs_tables.OTHERS:
        assert any(text.startswith(name) for text in listed), name
    for line in docs_tables.SCRIPTS:
        assert any(line in text for text in texts), line
    used = set()
    for page, block in pages:
        if block.language == "python":
            docs_pages.python(page, block, used)
    assert used == {
        (p, old) for p in docs_tables.SMALLER for old in docs_tables.SMALLER[p]
    }
    assert set(docs_tables.PLAIN) <= set(PAGES)
