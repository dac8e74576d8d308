"""The code blocks and the commands in Markdown pages."""

import re
import shlex
import typing

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
_COMMENT = re.compile(r"(^|(?<=\s))#[^\n]*")
_CONTINUED = re.compile(r"\\\n\s*")
_OPERATORS = "();<>|&\n"


class Block(typing.NamedTuple):
    """What stands between two fences.

    Attributes:
        language: what follows the first fence, or "".
        line: number of the first fence's line in the page.
        text: the lines between, without the fences' indentation.
    """

    language: str
    line: int
    text: str


def blocks(text):
    """Every fenced `Block` of a page, in order."""
    return [
        Block(
            found[2],
            text.count("\n", 0, found.start()) + 1,
            re.sub(f"^{found[1]}", "", found[3], flags=re.M),
        )
        for found in _FENCE.finditer(text)
    ]


def commands(script):
    """The simple commands of a shell script, each a list of words.

    Comments, operators, redirections and assignments of variables are left
    out, and so are commands in quotes.
    """
    script = _COMMENT.sub("", _CONTINUED.sub(" ", script))
    lexer = shlex.shlex(script, posix=True, punctuation_chars=_OPERATORS)
    lexer.whitespace, lexer.whitespace_split = " \t", True
    lexer.commenters = ""
    found, redirected = [[]], False
    for token in lexer:
        if set(token) <= set(_OPERATORS):
            redirected = not {"<", ">"}.isdisjoint(token)
            if not redirected:
                found.append([])
        elif not redirected:
            found[-1].append(token)
        else:
            redirected = False
    return [words for words in map(_without_variables, found) if words]


def _without_variables(words):
    first = 0
    while first < len(words) and re.match(r"\w+=", words[first]):
        first += 1
    return words[first:]


def mentioned(text):
    """Pairs of a program of this package and the flags named behind it.

    Of every command anywhere in a page, also in quotes and within prose:
    [("train.py", ["dataset", "model_dir"]), ...].
    """
    return [
        (found[1], re.findall(r"(?<=\s)--(\w+)", found[2]))
        for found in re.finditer(
            r"\b(train\.py|simclr-\w+|simclr_keras[\w.]+)\b([^`'|;&#\n]*)",
            _CONTINUED.sub(" ", text),
        )
    ]
