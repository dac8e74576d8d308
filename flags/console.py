"""Command lines of their own, apart from that of train.py.

Commands have flags of one name with different meanings, such as --image_size;
so each has a registry of its own.
"""

import copy
import os
import sys
import textwrap

from absl import flags

_HELP = ("--help", "-help", "-h", "-?", "--helpshort", "--helpfull")


class AtLeastOne(flags.ArgumentParser):
    """Whole numbers from 1."""

    syntactic_help = "a whole number of at least 1"

    def parse(self, argument):
        try:
            if int(argument) >= 1:
                return int(argument)
        except ValueError:
            pass
        raise ValueError(f"must be {self.syntactic_help}")


class Console:
    """One command's flags, help and refusals.

    Args:
        program: its name.
        introduction: what --help begins with.
        registry: `flags.FlagValues` of its flags.
        metavars: dict from their names, in the order of --help, to what their
            values are: "PATH", "N"; None for a switch.
    """

    def __init__(self, program, introduction, registry, metavars):
        self._program = program
        self._introduction = introduction
        self._registry = registry
        self._metavars = metavars

    def parse(self, argv, problem):
        """Parses the command line; exits on a mistake or a call for help.

        Args:
            argv: list of str, program name first; None for `sys.argv`.
            problem: function from the values to what is wrong, or None.

        Returns:
            Flag name -> value, None where not given.
        """
        argv = sys.argv if argv is None else argv
        if not set(argv[1:]).isdisjoint(_HELP):
            print(self.help_text())
            raise SystemExit(0)
        # Values are an answer here, no state of the module.
        registry = copy.deepcopy(self._registry)
        try:
            rest = registry(argv)[1:]
        except flags.Error as error:
            self.refuse(str(error))
        values = {
            name: _expanded(registry[name].value) for name in self._metavars
        }
        if rest:
            self.refuse(f"unexpected argument {rest[0]}: flags start with --")
        for name, value in values.items():
            if value == "":
                self.refuse(
                    f"--{name} must not be empty (is a shell variable unset?)"
                )
        if found := problem(values):
            self.refuse(found)
        return values

    def refuse(self, message):
        """Ends the process with code 2 and the message on standard error."""
        print(f"{self._program}: {message}", file=sys.stderr)
        print("Try --help for all flags.", file=sys.stderr)
        raise SystemExit(2)

    def fail(self, message):
        """Ends the process with code 1: nothing is wrong with the flags."""
        print(f"{self._program}: {message}", file=sys.stderr)
        raise SystemExit(1)

    def help_text(self):
        """What --help prints."""
        lines = [self._introduction]
        for name, metavar in self._metavars.items():
            lines.append(f"  --{name}" + (f"={metavar}" if metavar else ""))
            lines.append(
                textwrap.fill(
                    # Behind it absl says that a flag may be repeated.
                    self._registry[name].help.partition(";\n")[0],
                    width=79,
                    initial_indent=" " * 6,
                    subsequent_indent=" " * 6,
                )
            )
        return "\n".join(lines)


def _expanded(value):
    # No shell expands the tilde of --output=~/models.
    return os.path.expanduser(value) if isinstance(value, str) else value
