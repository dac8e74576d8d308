"""Flags are global: every test here starts from, and leaves, their defaults."""

import pytest

from simclr_keras.flags import catalogue
from simclr_keras.flags import command_line


def _reset():
    for flag in catalogue.definitions().values():
        flag.unparse()


@pytest.fixture(autouse=True)
def _default_flags():
    _reset()
    yield
    _reset()


@pytest.fixture
def parse():
    """Parses arguments as one would type them; returns what was given."""

    def parse(*arguments):
        _reset()
        return command_line.parse(["train.py", *arguments])

    return parse


@pytest.fixture
def refused(parse, capsys):
    """Parses arguments that must be refused; returns the lines printed."""

    def refused(*arguments):
        with pytest.raises(SystemExit) as exit_info:
            parse(*arguments)
        assert exit_info.value.code == 2
        printed = capsys.readouterr()
        assert not printed.out
        *problems, hint = printed.err.splitlines()
        assert hint == "Try --help for all flags."
        return problems

    return refused
