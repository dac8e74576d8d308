"""Parsing: from `argv` to values that fit together, or a short refusal."""

import os
import sys
import textwrap

from absl import flags

from simclr_keras.flags import catalogue
from simclr_keras.flags import recipes
from simclr_keras.flags import rules
from simclr_keras.flags import without_effect

_HELP = ("--help", "-help", "-h", "-?", "--helpshort")
_HELPFULL = ("--helpfull", "-helpfull")
_FLAGFILE = ("--flagfile", "-flagfile")
_WIDTH = 79
_INTRODUCTION = """\
Pretrains an encoder with SimCLR, measures it and exports it for serving.
Without flags it does so on scikit-learn's digits, in about four minutes on
two CPU cores. Google SimCLR's flags keep their names and meanings. What is
left out comes from a recipe for the data set; the run prints every value."""


def parse(argv=None):
    """Parses the command line; exits on a mistake or a call for help.

    A mistake ends the process with code 2 and one line per problem, before
    anything slow has been imported.

    Args:
        argv: list of str, program name first; `sys.argv` by default.

    Returns:
        Flag name -> "command line" or "flagfile", for the flags given.
    """
    argv = sys.argv if argv is None else argv
    _help_if_asked(argv)
    try:
        given = _origins(argv[1:])
        rest = flags.FLAGS(argv)[1:]
    except (flags.Error, ValueError) as error:
        refuse(str(error))
    if rest:
        refuse(_unexpected(rest[0], argv))
    values = catalogue.values()
    _, filled = recipes.settings(values, given)
    values |= filled
    found = rules.problems(values, given)
    if found:
        refuse(*found)
    return given


def refuse(*messages):
    """Ends the process with code 2 and the messages on standard error."""
    program = os.path.basename(sys.argv[0])
    for message in messages:
        print(f"{program}: {message}", file=sys.stderr)
    print("Try --help for all flags.", file=sys.stderr)
    raise SystemExit(2)


def help_text(program="train.py"):
    """What --help prints: our flags by concern, with defaults."""
    lines = [f"usage: {program} [--flag=value ...]", "", _INTRODUCTION]
    for title, group in catalogue.concerns():
        lines += ["", title, ""]
        for flag in group:
            lines += _described(flag)
    lines += [
        "",
        "--flagfile=PATH reads flags from a file, one a line; a run writes",
        "its own as run.flags. --helpfull lists the flags of libraries too.",
    ]
    return "\n".join(lines)


def _help_if_asked(argv):
    asked = set(argv[1:])
    if asked.isdisjoint(_HELP + _HELPFULL):
        return
    print(help_text(os.path.basename(argv[0])))
    if not asked.isdisjoint(_HELPFULL):
        ours = catalogue.definitions()
        print("\nFlags of libraries\n")
        for name in sorted(flags.FLAGS):
            if name not in ours:
                print("\n".join(_described(flags.FLAGS[name])))
    raise SystemExit(0)


def _described(flag):
    metavar = getattr(flag.parser, "metavar", flag.flag_type().upper())
    usage = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}={metavar}"
    default = f"default {catalogue.as_text(flag.default)}"
    if flag.name in recipes.FILLED:
        default = (
            "by recipe" if flag.default is None else f"{default}, or by recipe"
        )
    note = without_effect.help_note(flag.name)
    return [
        f"  {usage}  ({default})",
        *textwrap.wrap(
            flag.help + note,
            _WIDTH,
            initial_indent=" " * 6,
            subsequent_indent=" " * 6,
        ),
    ]


def _origins(arguments):
    """Which flags are given, and whether a flagfile says so; last one wins."""
    origins = {}
    arguments = iter(arguments)
    for argument in arguments:
        name, _, path = argument.partition("=")
        tokens, origin = [argument], "command line"
        if name in _FLAGFILE:
            tokens = _flagfile(path or next(arguments, ""))
            origin = "flagfile"
        names = [_flag_name(token) for token in tokens]
        origins |= {name: origin for name in names if name}
    return origins


def _flagfile(path):
    try:
        if path:
            return flags.FLAGS.read_flags_from_files([f"--flagfile={path}"])
    except (flags.CantOpenFlagFileError, UnicodeDecodeError):
        pass
    raise ValueError(f"flag --flagfile={path}: must be a text file of flags")


def _flag_name(token):
    """Name of our flag that `token` sets; None if it sets none."""
    if not token.startswith("-"):
        return None
    name = token.lstrip("-").partition("=")[0]
    ours = catalogue.definitions()
    if name not in ours and name.startswith("no"):
        name = name.removeprefix("no")
        return name if name in ours and ours[name].boolean else None
    return name if name in ours else None


def _unexpected(argument, argv):
    before = argv[argv.index(argument) - 1] if argument in argv else ""
    name = _flag_name(before)
    if name and catalogue.definitions()[name].boolean:
        return (
            f"unexpected argument {argument}: a switch takes its value with "
            f"=, {before}={argument}"
        )
    return f"unexpected argument {argument}: flags start with --"
