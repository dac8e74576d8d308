"""Writes a client's answers as lines of JSON, NumPy arrays or a table.

Rows without an answer have `valid` false and the reason in `error`; the
formats and names are those of `simclr-embed` where both have them.
"""

import json

import numpy as np

_PLURALS = {
    "path": "paths",
    "error": "errors",
    "embedding": "embeddings",
}
_SHOWN = 4


def write(batches, file, form):
    """Writes batches as they come; arrays when all are there.

    Args:
        batches: iterable of what `Client.stream_files` yields.
        file: binary file.
        form: "jsonl", "npz" or "table".
    """
    if form == "npz":
        _write_arrays(batches, file)
        return
    line = {"jsonl": _json, "table": _table}[form]
    for batch in batches:
        for row in range(len(batch["path"])):
            file.write(line(batch, row).encode() + b"\n")
        file.flush()


def _write_arrays(batches, file):
    columns = {}
    for batch in batches:
        for name, values in batch.items():
            columns.setdefault(name, []).append(np.asarray(values))
    np.savez(
        file,
        **{
            _PLURALS.get(name, name): np.concatenate(values)
            for name, values in columns.items()
        },
    )


def _json(batch, row):
    values = {"path": batch["path"][row], "valid": bool(batch["valid"][row])}
    if values["valid"]:
        arrays = batch.keys() - {"path", "valid", "error"}
        for name in sorted(arrays):
            values[name] = batch[name][row].tolist()
    else:
        values["error"] = batch["error"][row]
    return json.dumps(values)


def _table(batch, row):
    # Names may hold anything, also what is no Unicode or ends a line.
    path = json.dumps(batch["path"][row])[1:-1]
    if not batch["valid"][row]:
        return f"{path}  not valid: {batch['error'][row]}"
    parts = [path]
    if "classes" in batch:
        parts.append(
            f"class {batch['classes'][row][0]} ({batch['scores'][row][0]:.1%})"
        )
    embedding = batch["embedding"][row]
    numbers = " ".join(f"{value:.4g}" for value in embedding[:_SHOWN])
    more = " ..." if len(embedding) > _SHOWN else ""
    return "  ".join([*parts, f"[{numbers}{more}]"])
