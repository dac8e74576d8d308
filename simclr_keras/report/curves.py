"""The curves of training, from the lines of `metrics.jsonl`."""

import dataclasses
import math

from simclr_keras.report import plots


@dataclasses.dataclass(frozen=True)
class _Kind:
    title: str
    metrics: dict
    says: str
    percent: bool = False


_KINDS = (
    _Kind(
        "Loss",
        {"loss": "loss"},
        "Mean NT-Xent over all views of a batch; it starts near its chance "
        "level, ln(2G − 1) for a batch of G images, and should fall.",
    ),
    _Kind(
        "Contrastive accuracy",
        {"contrastive_accuracy": "contrastive_accuracy"},
        "How often a view is closest to the other view of its image, among "
        "all other views of the batch.",
        percent=True,
    ),
    _Kind(
        "Online probe",
        {"probe_top1": "top-1", "probe_top5": "top-5"},
        "A linear classifier that learns beside the encoder, on augmented "
        "training images; it does not influence the encoder.",
        percent=True,
    ),
    _Kind(
        "Spread of the embeddings",
        {"embedding_std": "embedding_std"},
        "0 where all embeddings have collapsed into one point, about 1 where "
        "they fill the sphere; 0.2 and more is usual.",
    ),
    _Kind(
        "Learning rate",
        {"learning_rate": "learning_rate"},
        "As applied, after scaling by the batch size.",
    ),
)


def of_run(run):
    """Plots of one run: list of dicts for the template's `plots`."""
    found = []
    for kind in _KINDS:
        named = [
            (name, _series(run, metric))
            for metric, name in kind.metrics.items()
        ]
        level = chance(run) if kind.title == "Loss" else None
        found.append(_plot(kind, [n for n in named if n[1][0]], level))
    return [plot for plot in found if plot is not None]


def of_runs(runs, names):
    """The same plots with a line for each run, of each first metric."""
    found = []
    for kind in _KINDS:
        metric = next(iter(kind.metrics))
        named = [
            (name, _series(run, metric))
            for run, name in zip(runs, names, strict=True)
        ]
        # A run without the metric keeps its colour, with no line.
        empty = not any(steps for _, (steps, _) in named)
        levels = {chance(run) for run in runs}
        level = (
            levels.pop() if kind.title == "Loss" and len(levels) == 1 else None
        )
        found.append(None if empty else _plot(kind, named, level))
    return [plot for plot in found if plot is not None]


def chance(run):
    """The loss of embeddings that tell nothing, ln(2G - 1); or None."""
    batch_size = run.flags.get("train_batch_size")
    return math.log(2 * batch_size - 1) if batch_size else None


def _series(run, metric):
    lines = [line for line in run.metrics if line.get(metric) is not None]
    return [line["step"] for line in lines], [line[metric] for line in lines]


def _plot(kind, named, level):
    if not named:
        return None
    legend = [(name, number) for number, (name, _) in enumerate(named)]
    label = f"{kind.title} over training steps: {_in_words(kind, named)}"
    if level is not None:
        legend.append((f"chance level, {level:.2f}", None))
    return {
        "title": kind.title,
        "says": kind.says,
        "legend": legend if len(legend) > 1 else [],
        "svg": plots.curves(
            [series for _, series in named],
            label=label,
            level=level,
            percent=kind.percent,
        ),
    }


def _in_words(kind, named):
    """First and last values, for those who do not see the plot."""

    def shown(value):
        return f"{value:.1%}" if kind.percent else f"{value:.4g}"

    return "; ".join(
        f"{name} from {shown(values[0])} at step {steps[0]:,} to "
        f"{shown(values[-1])} at step {steps[-1]:,}"
        for name, (steps, values) in named
        if steps
    )
