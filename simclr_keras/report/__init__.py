"""A page about a run: what was run, what it saw, how it went, how good it is.

    report.write("runs/digits")                      # runs/digits/report.html
    report.compare(["runs/a", "runs/b"], "ab.html")

A run keeps what the page needs in small files (`recording`, `resources`); the
pages are made from files alone, of finished, stopped or copied runs.
"""

import contextlib
import importlib
import pathlib
import sys
import time

from simclr_keras.report import comparing
from simclr_keras.report import files
from simclr_keras.report import page
from simclr_keras.report import rendering
from simclr_keras.report import resources

__all__ = [
    "PAGE",
    "compare",
    "markdown",
    "recording",
    "write",
    "written_at_the_end",
]

PAGE = "report.html"


def __getattr__(name):
    # Imports TensorFlow, which pages are made without.
    if name == "recording":
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def write(model_dir, path=None):
    """Writes the page about a run; parts that the run lacks are left out.

    Args:
        model_dir: folder of the run.
        path: of the page; None for `report.html` in that folder.

    Returns:
        The path of the page.

    Raises:
        ValueError: if there is no run, or a file of it is damaged.
    """
    path = pathlib.Path(model_dir) / PAGE if path is None else path
    rendering.write(path, page.render(files.read(model_dir)))
    return path


def compare(model_dirs, path):
    """Writes a page about several runs side by side.

    Args:
        model_dirs: two or more folders of runs.
        path: of the page.

    Raises:
        ValueError: as `write`.
    """
    rendering.write(path, comparing.render([files.read(d) for d in model_dirs]))


def markdown(model_dirs):
    """The results of runs as a table in Markdown: str.

    Args:
        model_dirs: folders with `results.json`, and `config.json` where the
            table is to have the settings that differ.

    Raises:
        ValueError: as `write`, and if nothing was measured.
    """
    return comparing.markdown([files.read(d) for d in model_dirs])


@contextlib.contextmanager
def written_at_the_end(model_dir, total_steps):
    """Context in which a run works: however it ends, there is a page about it.

    A page that cannot be written does not change how the run ends: standard
    error says why. After Ctrl-C none is written, for somebody waits.

    Args:
        model_dir: folder of the run; None for a worker that writes nothing.
        total_steps: int, updates of the whole run.
    """
    began = time.perf_counter()

    def finish(ended):
        if model_dir is None or not _has_begun(model_dir):
            return
        try:
            seconds = time.perf_counter() - began
            resources.keep(model_dir, total_steps, seconds, ended)
            print(f"report: {write(model_dir)}")
        except Exception as problem:
            print(f"{PAGE} is not written: {problem}", file=sys.stderr)

    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        finish(_reason(error))
        raise
    finish(None)


def _has_begun(model_dir):
    names = ("samples.npz", "metrics.jsonl", "results.json")
    return any((pathlib.Path(model_dir) / name).exists() for name in names)


def _reason(error):
    """Why the program ends, in a line."""
    if isinstance(error, SystemExit):
        # What made it exit tells more than the exit code.
        error = error.__context__ or error
    return f"{error or type(error).__name__}".splitlines()[0]
