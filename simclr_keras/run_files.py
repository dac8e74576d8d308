"""Files of a run: written whole or not at all, with where they came from."""

import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess

import numpy as np

# In `results.json`, what the run itself made; the others are compared with it.
_OWN = ("encoder", "fine-tuned", "from scratch", "student")
_PACKAGES = ("tensorflow", "keras", "keras-cv", "numpy", "scikit-learn")


def write_json(path, value):
    """Writes `value` as JSON under a temporary name and renames it."""
    temporary = pathlib.Path(f"{path}.partial")
    temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path):
    """What `write_json` wrote; None if there is no such file."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def own_representation(representations):
    """The name of what a run made, or None.

    Args:
        representations: dict from names to results, as in `results.json`.
    """
    return next((name for name in _OWN if name in representations), None)


def write_npz(path, **arrays):
    """Writes those `arrays` that are not None, as `write_json` does."""
    temporary = f"{path}.partial"
    with open(temporary, "wb") as file:
        np.savez_compressed(
            file, **{k: v for k, v in arrays.items() if v is not None}
        )
    os.replace(temporary, path)


def environment():
    """Versions, git revision and machine, as a JSON-serialisable dict."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in _PACKAGES},
        "git_revision": _git_revision(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }


def processor():
    """Its name, as far as the system tells."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_revision():
    """Revision of the checkout that runs; None for an installed package."""
    folder = pathlib.Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() or None
