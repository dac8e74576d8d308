"""Tables of results inside Markdown documents, kept equal to their runs.

A document says where a table stands and of which runs it is, by folders
relative to its own, and the table is written between:

    <!-- results of results/digits -->
    <!-- end of results -->
"""

import os
import pathlib
import re
import shlex

from simclr_keras.report import comparing
from simclr_keras.report import files

_BLOCK = re.compile(
    r"(<!-- results of (.+?) -->\n).*?(<!-- end of results -->)", re.DOTALL
)


def updated(path):
    """The text of a document with its tables made anew.

    Raises:
        ValueError: if there is none to make, or a run has no results.
    """
    path = pathlib.Path(path)

    def table(match):
        folders = [path.parent / name for name in shlex.split(match[2])]
        made = comparing.markdown([files.read(folder) for folder in folders])
        return f"{match[1]}\n{made}\n\n{match[3]}"

    text, number = _BLOCK.subn(table, path.read_text(encoding="utf-8"))
    if not number:
        raise ValueError(
            f"{path}: no place for a table, from <!-- results of RUN --> to "
            "<!-- end of results -->"
        )
    return text


def update(path):
    """Writes what `updated` gives."""
    text = updated(path)
    partial = pathlib.Path(f"{path}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
