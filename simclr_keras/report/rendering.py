"""Pages from templates: one file each, without a request to anywhere."""

import os
import pathlib

import jinja2

from simclr_keras.report import plots

_FOLDER = pathlib.Path(__file__).parent


def render(template, **values):
    """The text of a page.

    Args:
        template: name of a file beside this one.
        **values: what it shows; text is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["address"] = plots.picture
    return environment.get_template(template).render(values)


def write(path, text):
    """Writes a page under a temporary name and renames it."""
    partial = f"{path}.partial"
    # Names of files need not be valid text.
    pathlib.Path(partial).write_text(text, encoding="utf-8", errors="replace")
    os.replace(partial, path)
