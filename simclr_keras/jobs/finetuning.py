"""Training with labels: from the weights of `--checkpoint`, or from scratch."""

import math
import sys
import typing

import numpy as np

import simclr_keras
from simclr_keras import cluster
from simclr_keras import data
from simclr_keras import flags
from simclr_keras.flags import evaluation as evaluation_flags
from simclr_keras.flags import finetuning as finetuning_flags
from simclr_keras.flags import model as model_flags
from simclr_keras.flags import run as run_flags
from simclr_keras.jobs import devices
from simclr_keras.jobs import fitting
from simclr_keras.jobs import starting


class Probe(typing.NamedTuple):
    """A trained classifier, with what `linear_probe.Probe` answers."""

    classifier: object

    def logits(self, x):
        """[N, F] float -> [N, K] float32."""
        return np.asarray(self.classifier(x))

    def to_keras(self):
        return self.classifier


def labelled(source):
    """The images to train on, as many as the flags say: `data.Split`."""
    rows = labelled_rows(source)
    return source.train if rows is None else source.train.subset(rows)


def labelled_rows(source):
    """Which of `source.train` the flags give labels to; None for all."""
    chosen = finetuning_flags.labels()
    if cluster.cluster().num_workers > 1:
        flags.refuse(
            "flag --train_mode=finetune: runs on one host, and TF_CONFIG names "
            "several"
        )
    if source.train is None:
        flags.refuse(
            f"flag --train_mode=finetune: needs labels, and {source.name} has "
            "none"
        )
    share = chosen["label_fraction"]
    if share is not None and source.train.labels is not None:
        smallest = int(np.unique_counts(source.train.labels).counts.min())
        if share * smallest < 1:
            flags.refuse(
                f"flag --label_fraction={share:g}: must be at least "
                f"{math.ceil(1e4 / smallest) / 1e4:g}, one image of the "
                f"{smallest} of the smallest class"
            )
    try:
        return simclr_keras.evaluation.subsets.labelled_rows(
            source.train, seed=run_flags.seed(), **chosen
        )
    except ValueError as error:
        name = "labels_per_class" if share is None else "label_fraction"
        flags.refuse(f"flag --{name}={chosen[name]:g}: {error}")


def train(run, found):
    """Trains with labels and, if that is asked for, tests.

    Args:
        run: `claiming.Run`.
        found: `pretrained.Pretrained`, or None for initial weights.

    Returns:
        `Classifier`, the trained one.
    """
    devices.prepare_keras()
    encoder, head = _start(found)
    settings = {
        "projection_head": head,
        "strategy": run.strategy,
        "fit": lambda *fit: _fit(run, *fit),
        **finetuning_flags.fine_tuned(),
    }
    source, finetune = run.source, simclr_keras.evaluation.finetune
    _, evaluate = run_flags.mode()
    if evaluate and source.test is None:
        print("no labelled test images: nothing to measure")
    if not evaluate or source.test is None:
        return finetune.fine_tuned(
            encoder,
            run.split,
            source.num_classes,
            seed=run_flags.seed(),
            **settings,
        )
    test = data.pipelines.evaluation(source.test, **evaluation_flags.pipeline())
    first, draws = run_flags.seed(), evaluation_flags.label_draws()
    result, model = finetune.run_with_model(
        encoder,
        source.train,
        test.take(evaluation_flags.num_batches()),
        seeds=range(first, first + draws),
        num_classes=source.num_classes,
        verbose=sys.stderr.isatty(),
        **finetuning_flags.labels(),
        **settings,
    )
    name = "from scratch" if found is None else "fine-tuned"
    run.write_results(
        {name: {"finetune": result}},
        num_train=result["num_train"],
        num_examples=result["num_examples"],
        draws=len(result["seeds"]),
    )
    print(describe(name, result))
    return model


def describe(name, result):
    """The result of `evaluation.finetune.run` as lines of text."""
    top1, error = result["top1"], result["top1_standard_error"]
    lines = [
        f"{name}: top-1 {top1:.1%} of {result['num_examples']:,} test images, "
        f"trained on {result['num_train']:,} with labels"
    ]
    if result["top5"] is not None:
        lines.append(f"  top-5 {result['top5']:.1%}")
    if result["top1_std"] is not None:
        fits = len(result["top1_draws"])
        lines.append(
            f"  mean of {fits} fits, standard deviation "
            f"{result['top1_std']:.1%}, standard error {error:.1%}"
        )
    else:
        lines.append(f"  standard error over the test images {error:.1%}")
    lines.append(f"  {result['protocol']}")
    if result["unseen_classes"]:
        unseen = ", ".join(map(str, result["unseen_classes"]))
        lines.append(f"  without a training image, so missed: {unseen}")
    return "\n".join(lines)


def _start(found):
    """(encoder, projection head or None) to train on."""
    if found is not None:
        print(f"fine-tuning {found}")
        return starting.parts(found)
    print("no --checkpoint: supervised from scratch, from initial weights")
    encoder = simclr_keras.resnet(**model_flags.resnet())
    if not model_flags.simclr()["ft_proj_selector"]:
        return encoder, None
    return encoder, simclr_keras.projection_head(
        features=encoder.output_shape[-1], **model_flags.projection_head()
    )


def _fit(run, model, batches, steps, seed):
    """Trains one of the fits; the run is the one with its seed."""
    chance = math.log(run.source.num_classes)
    if seed != run_flags.seed():
        number = seed - run_flags.seed() + 1
        print(f"fit {number} of {evaluation_flags.label_draws()}")
        fitting.fit_once(model, batches, steps, chance)
        return
    fit = fitting.Fitting(model, run, steps)
    with fit.explained():
        fit.fit(run.split, batches, chance=chance)
        save(run, model)


def save(run, model):
    """Keeps encoder and classifier of a model, for Keras to load."""
    for name in ("encoder", "classifier"):
        part = getattr(model, name)
        simclr_keras.save_encoder(part, run.model_dir / f"{name}.keras")
