"""The results of a comparison as an aligned table for the console."""

_NAME = 24
_NUMBER = 9
_SPREAD = 15


def table(results: dict) -> list[str]:
    """The results of `compare.run` as lines of text, in percent."""
    rows = results["representations"]
    columns = _columns(rows)
    lines = []
    for line in zip(*(column["heading"] for column in columns), strict=True):
        cells = zip(line, columns, strict=True)
        lines.append(
            " " * _NAME + "".join(f"{t:>{c['width']}}" for t, c in cells)
        )
    lines.append("-" * len(lines[0]))
    for name, row in rows.items():
        cells = "".join(f"{_cell(row, c):>{c['width']}}" for c in columns)
        lines.append(f"{name[: _NAME - 1]:{_NAME}}{cells}")
    return lines + _notes(results)


def _columns(rows):
    """Which numbers of each row are shown, in order."""
    columns = []
    for name, result in next(iter(rows.values())).items():
        if "labels_per_class" in result:
            heading = ("linear top-1", f"{result['labels_per_class']}/class")
            columns.append(_column(heading, name, "top1", _SPREAD))
            continue
        title = {"linear_probe": "linear", "knn": "kNN"}[name]
        columns.append(_column((title, "top-1"), name, "top1", _NUMBER))
        if name == "linear_probe" and result["top5"] is not None:
            columns.append(_column((title, "top-5"), name, "top5", _NUMBER))
    columns.sort(key=lambda column: column["width"])
    return columns


def _column(heading, evaluation, key, width):
    return {
        "heading": heading,
        "evaluation": evaluation,
        "key": key,
        "width": width,
    }


def _cell(row, column):
    result = row[column["evaluation"]]
    text = f"{100 * result[column['key']]:.1f}"
    if not result.get("converged", True):
        text += "*"
    deviation = result.get("top1_std")
    return text if deviation is None else f"{text} ±{100 * deviation:4.1f}"


def _notes(results):
    parts = [
        part
        for row in results["representations"].values()
        for part in row.values()
    ]
    lines = [
        f"Percent of {results['num_examples']:,} test examples; trained on "
        f"{results['num_train']:,}."
    ]
    if any("labels_per_class" in part for part in parts):
        lines.append(
            "N/class: on N labels of each class, mean and standard deviation "
            f"over {results['draws']} draws."
        )
    lines += sorted({part["notice"] for part in parts if part.get("notice")})
    if not all(part.get("converged", True) for part in parts):
        lines.append("*: the fit stopped before it converged.")
    unseen = sorted({x for part in parts for x in part["unseen_classes"]})
    if unseen:
        lines.append(f"Without a training example, so missed: {unseen}.")
    return lines
