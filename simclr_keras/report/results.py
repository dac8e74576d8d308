"""Accuracies of a run beside its baselines, from `results.json`."""

import dataclasses
import re

NO_VALUE = "–"

_FEW_LABELS = re.compile(r"(.+)_(\d+)_per_class")
_TITLES = {
    "linear_probe": "linear",
    "linear_sgd": "linear by SGD",
    "knn": "kNN",
    "finetune": "fine-tuned",
}
# Of kNN, hits among five say little: its votes are on few classes.
_TOP1_ONLY = ("knn",)


@dataclasses.dataclass(frozen=True)
class Measure:
    """One number that an evaluation gives.

    Attributes:
        evaluation: its key in `results.json`.
        metric: "top1" or "top5".
        title: for a table's heading.
    """

    evaluation: str
    metric: str
    title: str

    def result(self, row):
        """What a row, a dict from evaluations to results, has of it."""
        result = row.get(self.evaluation) or {}
        return {} if result.get(self.metric) is None else result

    def value(self, row):
        """The share of hits, or None."""
        return self.result(row).get(self.metric)

    def percent(self, row):
        """The same as text, marked if the fit did not converge."""
        value = self.value(row)
        if value is None:
            return NO_VALUE
        converged = self.result(row).get("converged", True)
        return f"{100 * value:.1f}{'' if converged else '*'}"

    def deviation(self, row):
        """The standard deviation over draws as text, or None."""
        return self._percent(row, "top1_std")

    def error(self, row):
        """The standard error as text, or None."""
        return self._percent(row, "top1_standard_error")

    def _percent(self, row, key):
        value = self.result(row).get(key)
        if value is None or self.metric != "top1":
            return None
        return f"{100 * value:.1f}"


def measures(rows):
    """The `Measure`s of rows: those with all labels first, then with few."""
    results = {}
    for row in rows:
        for name, result in row.items():
            if isinstance(result, dict) and "top1" in result:
                results.setdefault(name, []).append(result)
    found = [m for name, each in results.items() for m in _measures(name, each)]
    return sorted(found, key=_has_few_labels)


def _measures(name, results):
    few = _FEW_LABELS.fullmatch(name)
    base = few[1] if few else name
    title = _TITLES.get(base, base.replace("_", " "))
    if few:
        title += f", {few[2]} labels per class"
    elif labels := _same(map(_labels, results)):
        title += f", {labels}"
    if neighbours := _same(result.get("k") for result in results):
        title += f" (k = {neighbours})"
    yield Measure(name, "top1", title)
    is_shown = not few and name not in _TOP1_ONLY
    if is_shown and any(r.get("top5") is not None for r in results):
        yield Measure(name, "top5", f"{title} top-5")


def _has_few_labels(measure):
    return _FEW_LABELS.fullmatch(measure.evaluation) is not None


def _labels(result):
    """How many labels a classifier was trained with, in words, or None."""
    if result.get("labels_per_class"):
        return f"{result['labels_per_class']} labels per class"
    if result.get("label_fraction"):
        return f"{100 * result['label_fraction']:g} % of the labels"
    return None


def _same(values):
    """What all are, or None."""
    different = set(values)
    return different.pop() if len(different) == 1 else None


def lines(rows):
    """Measures as lines of a table, and what is compared as its columns.

    Args:
        rows: list of dicts from evaluations to results.

    Returns:
        List of dicts: `title`, `protocol`, `meaning` of the ±, and `cells`,
        one for each of `rows`: (percent, ± or None, whether it is the best).
    """
    return [_line(measure, rows) for measure in measures(rows)]


def _line(measure, rows):
    known = [v for v in map(measure.value, rows) if v is not None]
    first = next(filter(None, map(measure.result, rows)))
    cells = []
    for row in rows:
        spread = measure.deviation(row) or measure.error(row)
        best = len(known) > 1 and measure.value(row) == max(known)
        cells.append((measure.percent(row), spread, best))
    return {
        "title": measure.title,
        "protocol": first.get("protocol"),
        "meaning": _meaning(measure, first),
        "cells": cells,
    }


def _meaning(measure, result):
    if measure.metric != "top1":
        return None
    if result.get("top1_std") is not None:
        return f"± standard deviation over {fits(result)}"
    if result.get("top1_standard_error") is not None:
        return "± standard error over the test images"
    return None


def fits(result):
    """What a result with `top1_std` is the mean over, in words."""
    number = len(result.get("top1_draws") or ())
    if is_over_training_runs(result):
        return f"{number} training runs with other seeds"
    # The seed of a fine-tuning decides more than its labels.
    is_fit = "train_steps" in result
    what = "fits with other seeds" if is_fit else "draws of labelled images"
    return f"{number} {what}"


def is_over_training_runs(result):
    """Whether the whole training was repeated for the mean of a result."""
    return "pretraining_seeds" in result


def notes(results):
    """What a table of one run's results needs said: list of str."""
    parts = [
        part
        for row in results["representations"].values()
        for part in row.values()
        if isinstance(part, dict)
    ]
    tested, trained = (
        results.get(name) or _same(part.get(name) for part in parts)
        for name in ("num_examples", "num_train")
    )
    of = f" of {tested:,} test images" if tested else ""
    on = f"; trained on {trained:,}" if trained else ""
    found = [f"Percent{of}, top-1 unless stated{on}."]
    found += sorted({part["notice"] for part in parts if part.get("notice")})
    if not all(part.get("converged", True) for part in parts):
        found.append("*: the fit stopped before it converged.")
    unseen = {x for part in parts for x in part.get("unseen_classes") or ()}
    if unseen:
        names = ", ".join(map(str, sorted(unseen)))
        found.append(f"Without a training example, so missed: classes {names}.")
    return found
