"""How a flag is defined: its type, its range, and what an error says.

absl's own parsers accept `nan`, have no open intervals and word each error
differently. These state one rule per flag; absl puts the flag's name and what
was received before it: `flag --temperature=abc: must be a number above 0`.
"""

import math
import os
import re

from absl import flags

# Flags belong to the module that calls a function of this one.
flags.disclaim_key_flags()

_TRUE = ("true", "t", "1", "yes")
_FALSE = ("false", "f", "0", "no")


class _Parser(flags.ArgumentParser):
    """A parser that knows its rule and how --help shows its values."""

    rule = ""
    metavar = ""

    def parse(self, argument):
        try:
            value = self.convert(argument)
        except (TypeError, ValueError):
            raise ValueError(self.rule) from None
        if not self.accepts(value):
            raise ValueError(self.rule)
        return value

    def convert(self, argument):
        return argument

    def accepts(self, value):
        return True

    @property
    def syntactic_help(self):
        return self.rule


class _Number(_Parser):
    def __init__(self, convert, what, minimum, above, maximum, below):
        self.convert = convert
        self.metavar = "NUMBER" if convert is float else "N"
        bounds = (
            (minimum, "of at least {}", lambda value: value >= minimum),
            (above, "above {}", lambda value: value > above),
            (maximum, "at most {}", lambda value: value <= maximum),
            (below, "below {}", lambda value: value < below),
        )
        bounds = [bound for bound in bounds if bound[0] is not None]
        limits = " and ".join(text.format(at) for at, text, _ in bounds)
        self.rule = f"must be {what} {limits}".strip()
        self._within = [within for _, _, within in bounds]

    def accepts(self, value):
        finite = math.isfinite(value)
        return finite and all(within(value) for within in self._within)


class _Switch(_Parser):
    rule = "must be true or false"

    def convert(self, argument):
        if isinstance(argument, bool):
            return argument
        return (_TRUE + _FALSE).index(argument.lower()) < len(_TRUE)


class _Choice(_Parser):
    def __init__(self, choices, convert=str):
        self.convert = convert
        self.choices = choices
        names = [str(choice) for choice in choices]
        self.metavar = "{" + ",".join(names) + "}"
        self.rule = "must be one of " + ", ".join(names)

    def accepts(self, value):
        return value in self.choices


class _Text(_Parser):
    metavar = "NAME"
    rule = "must not be empty (is a shell variable unset?)"

    def accepts(self, value):
        return bool(value.strip())


class _Path(_Text):
    metavar = "PATH"

    def convert(self, argument):
        # No shell expands the tilde of --model_dir=~/runs.
        return os.path.expanduser(argument)


class _Pattern(_Text):
    metavar = "REGEX"
    rule = "must be a regular expression"

    def accepts(self, value):
        try:
            re.compile(value)
        except re.error:
            return False
        return bool(value)


class _List(_Parser):
    def __init__(self, item, what, may_be_empty):
        self.item = item
        self.may_be_empty = may_be_empty
        self.metavar = f"{item.metavar},..."
        self.rule = f"must be {what}, separated by commas, each once"
        if may_be_empty:
            self.rule += "; or empty"

    def convert(self, argument):
        if isinstance(argument, str):
            argument = argument.split(",") if argument.strip() else []
        return [
            self.item.parse(item.strip() if isinstance(item, str) else item)
            for item in argument
        ]

    def accepts(self, value):
        distinct = len(set(value)) == len(value)
        return distinct and (self.may_be_empty or bool(value))


def number(
    name, default, help, *, minimum=None, above=None, maximum=None, below=None
):
    """Defines a finite float within the stated bounds."""
    parser = _Number(float, "a number", minimum, above, maximum, below)
    return _define(parser, name, default, help)


def integer(name, default, help, *, minimum=None, maximum=None):
    """Defines a whole number within the stated bounds."""
    parser = _Number(int, "a whole number", minimum, None, maximum, None)
    return _define(parser, name, default, help)


def choice(name, default, choices, help):
    """Defines one of the given strings, or of the given integers."""
    parser = _Choice(choices, type(choices[0]))
    return _define(parser, name, default, help)


def switch(name, default, help):
    """Defines a boolean: --name, --noname, --name=true, --name=false."""
    flag = flags.Flag(_Switch(), None, name, default, help, boolean=True)
    return flags.DEFINE_flag(flag)


def text(name, default, help):
    """Defines a string that is not empty."""
    return _define(_Text(), name, default, help)


def path(name, default, help):
    """Defines a path; a leading `~` becomes the home directory."""
    return _define(_Path(), name, default, help)


def pattern(name, default, help):
    """Defines a regular expression."""
    return _define(_Pattern(), name, default, help)


def choices(name, default, choices, help):
    """Defines a list of some of the given strings, at least one."""
    parser = _List(_Choice(choices), "some of " + ", ".join(choices), False)
    return _define(parser, name, default, help, flags.ListSerializer(","))


def integers(name, default, help, *, minimum):
    """Defines a list of whole numbers; empty means none."""
    item = _Number(int, "a whole number", minimum, None, None, None)
    parser = _List(item, f"whole numbers of at least {minimum}", True)
    return _define(parser, name, default, help, flags.ListSerializer(","))


def _define(parser, name, default, help, serializer=None):
    serializer = serializer or flags.ArgumentSerializer()
    return flags.DEFINE(parser, name, default, help, serializer=serializer)
