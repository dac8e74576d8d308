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


# What the loss is, by --train_mode.
_LOSSES = {
    "pretrain": "Mean NT-Xent over all views of a batch; it starts near its "
    "chance level, ln(2G − 1) for a batch of G images, and should fall.",
    "finetune": "Mean cross-entropy over the images of a batch; guessing among "
    "K classes has the chance level ln K.",
    "distill": "Mean cross-entropy between what teacher and student predict.",
}
_KINDS = (
    _Kind(
        "Contrastive accuracy",
        {"contrastive_accuracy": "contrastive_accuracy"},
        "How often a view is closest to the other view of its image, among "
        "all other views of the batch.",
        percent=True,
    ),
    _Kind(
        "Top-1 while training",
        {"top1": "top1"},
        "On the cropped images that are trained on; the table of results has "
        "test images.",
        percent=True,
    ),
    _Kind(
        "Agreement with the teacher",
        {"teacher_agreement": "teacher_agreement"},
        "How often student and teacher predict the same class, on the images "
        "that are trained on.",
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
        "Held-out training images",
        {"knn_top1": "kNN", "linear_top1": "linear"},
        "Top-1 of the frozen encoder on a part of the training images, by "
        "means of others (--eval_every). The best encoder is chosen by kNN.",
        percent=True,
    ),
    _Kind(
        "Test images",
        {"test_knn_top1": "kNN", "test_linear_top1": "linear"},
        "Top-1 of the checkpoints that --mode=eval followed. Choosing one by "
        "it would make its accuracy look better than it is.",
        percent=True,
    ),
    _Kind(
        "Spread of the embeddings",
        {"embedding_std": "embedding_std"},
        "0 where all embeddings have collapsed into one point, about 1 where "
        "they fill the sphere; 0.2 and more is usual.",
    ),
    _Kind(
        "Alignment",
        {"projection_alignment": "projection_alignment"},
        "Mean squared distance of the projections of two views of an image: 0 "
        "is best, and also where all have collapsed. Always of the same "
        "images and views.",
    ),
    _Kind(
        "Uniformity",
        {"projection_uniformity": "projection_uniformity"},
        "Of the same projections: 0 where all have collapsed into one point, "
        "−4 where all are orthogonal; lower is better.",
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
    for kind in (_loss([run]), *_KINDS):
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
    for kind in (_loss(runs), *_KINDS):
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
    """The loss of embeddings that tell nothing, ln(2G - 1), or of a guess
    among K classes, ln K; None where there is none."""
    if run.train_mode == "finetune":
        num_classes = (run.config or {}).get("dataset", {}).get("num_classes")
        return math.log(num_classes) if num_classes else None
    batch_size = run.flags.get("train_batch_size")
    if run.train_mode != "pretrain" or not batch_size:
        return None
    return math.log(2 * batch_size - 1)


def _loss(runs):
    """What is known of the loss of runs."""
    modes = {run.train_mode for run in runs}
    says = "Losses of different kinds of training, not to be compared."
    if len(modes) == 1:
        says = _LOSSES.get(modes.pop(), "Mean over the images of a batch.")
    return _Kind("Loss", {"loss": "loss"}, says)


def _series(run, metric):
    lines = [*run.metrics, *map(_of_checkpoint, run.evaluations)]
    lines = [line for line in lines if line.get(metric) is not None]
    return [line["step"] for line in lines], [line[metric] for line in lines]


def _of_checkpoint(evaluation):
    """A line of `evaluations.jsonl` as one of `metrics.jsonl`."""
    row = evaluation.get("representations", {}).get("encoder", {})
    tops = {
        f"test_{short}_top1": row.get(name, {}).get("top1")
        for short, name in (("knn", "knn"), ("linear", "linear_probe"))
    }
    return {"step": evaluation["step"], **tops}


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
