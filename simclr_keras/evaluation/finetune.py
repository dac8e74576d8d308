"""Fine-tuning: the accuracy of an encoder that is trained on with labels.

Also supervised learning from scratch, which is the fine-tuning of an encoder
with its initial weights, and linear evaluation (see `linear_sgd`), which is
that of nothing but the classifier.
"""

import inspect
from collections.abc import Callable
from collections.abc import Sequence

import keras
import tensorflow as tf

from simclr_keras import augment
from simclr_keras import data
from simclr_keras import distribution
from simclr_keras import normalization
from simclr_keras import optimizers
from simclr_keras import schedules
from simclr_keras import training
from simclr_keras.classifier import FROZEN
from simclr_keras.classifier import Classifier
from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import checks
from simclr_keras.evaluation import subsets
from simclr_keras.evaluation.features import check_unchanged
from simclr_keras.evaluation.features import digests
from simclr_keras.evaluation.features import extract


def run(
    encoder: keras.Model,
    train: data.Split,
    test: tf.data.Dataset,
    **settings,
) -> dict:
    """`run_with_model` without the model."""
    return run_with_model(encoder, train, test, **settings)[0]


def run_with_model(
    encoder: keras.Model,
    train: data.Split,
    test: tf.data.Dataset,
    *,
    labels_per_class: int | None = None,
    label_fraction: float | None = None,
    seeds: Sequence[int] = (0,),
    num_classes: int | None = None,
    verbose: bool = False,
    **settings,
) -> tuple[dict, Classifier]:
    """Accuracy after training on with labels, in fits that differ by seed.

    Each fit is that of `fine_tuned`. It is tested after its last step, on
    whole or centre-cropped images: no test label chooses anything.

    Args:
        encoder: functional model, images [B, S, S, 3] -> embeddings [B, F],
            with its initial weights to learn from scratch; left bit-identical.
        train: images with labels, as they are stored.
        test: finite dataset of (images, labels [B] int).
        labels_per_class: int, how many examples of each class to train on;
            None for all.
        label_fraction: float in (0, 1], which share of each class instead.
            The choices of one seed are nested.
        seeds: one fit each. A seed decides the labelled examples, their
            order, the crops and the initial classifier.
        num_classes: K; None takes the largest label plus one.
        verbose: whether to show progress bars of the tests.
        **settings: arguments of `fine_tuned`.

    Returns:
        dict for JSON, and the model of the first seed. The dict has the keys
        that `linear_probe.run` gives for few labels, without those of its
        regularisation; for one seed `top1_standard_error` is that over the
        test examples. Also `label_fraction` and all `settings` but models,
        with the `train_steps` and `train_batch_size` that came of them.

    Raises:
        ValueError: if labels are missing or out of range, a class has fewer
            than `labels_per_class` examples, or both numbers of labels are
            given; or as `fine_tuned`.
    """
    seeds = checks.seeds(seeds)
    checks.labelled(test=test)
    num_classes = _num_classes(train, num_classes)
    first, summaries, unseen = None, [], set()
    for seed in seeds:
        chosen = subsets.labelled_part(
            train, labels_per_class, label_fraction, seed
        )
        model = fine_tuned(encoder, chosen, num_classes, seed=seed, **settings)
        scores = extract(model, test, verbose=verbose)
        checks.labels("test", scores.labels, num_classes)
        summaries.append(accuracy.summary(scores.x, scores.labels))
        if chosen.labels is not None:
            unseen.update(set(scores.labels) - set(chosen.labels))
        first = first or model
    result = accuracy.over_draws(summaries)
    if len(seeds) == 1:
        result["top1_standard_error"] = summaries[0]["top1_standard_error"]
    used = {name: settings.get(name, _SETTINGS[name]) for name in _SETTINGS}
    steps = schedules.plan(chosen.num_examples, **{k: used[k] for k in _LENGTH})
    return {
        "protocol": _protocol(steps, len(seeds), used),
        **result,
        "labels_per_class": labels_per_class,
        "label_fraction": label_fraction,
        "num_train": chosen.num_examples,
        "num_classes": num_classes,
        "num_features": encoder.output_shape[-1],
        "seeds": seeds,
        "unseen_classes": sorted(map(int, unseen)),
        **used,
        "train_steps": steps.num_steps,
        "train_batch_size": steps.batch_size,
    }, first


def fine_tuned(
    encoder: keras.Model,
    split: data.Split,
    num_classes: int,
    *,
    projection_head: keras.Model | None = None,
    ft_proj_selector: int = 0,
    fine_tune_after_block: int = -1,
    zero_init_logits_layer: bool = False,
    move_frozen_statistics: bool = False,
    optimizer: str = "momentum",
    learning_rate: float = 0.05,
    learning_rate_scaling: str = "linear",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    train_batch_size: int = 256,
    train_epochs: int = 60,
    train_steps: int = 0,
    warmup_epochs: float = 0.0,
    crop: str = "google",
    flip_probability: float = 0.5,
    seed: int = 0,
    strategy: tf.distribute.Strategy | None = None,
    fit: Callable | None = None,
) -> Classifier:
    """A copy of `encoder` with a new classifier, trained on `split`.

    Images are randomly cropped and flipped, without colour distortion, as in
    Google's code. Defaults are those of SimCLR's appendix B.5 for 1 % of the
    labels, with a smaller batch.

    Args:
        encoder: functional model, images [B, S, S, 3] -> [B, F].
        split: images with labels.
        num_classes: K.
        projection_head: for `ft_proj_selector` other than 0; copied too.
        ft_proj_selector, fine_tune_after_block, zero_init_logits_layer,
            move_frozen_statistics: as for `Classifier`.
        optimizer: name, as for `optimizers.optimizer`.
        learning_rate, learning_rate_scaling: peak, before scaling by the
            batch; half a cosine down to 0 follows the warm-up.
        momentum, weight_decay: of the optimizer.
        train_batch_size: where there are fewer images, they are the batch.
        train_epochs, train_steps: length; `train_steps` above 0 decides.
        warmup_epochs: float >= 0.
        crop, flip_probability: as for `simclr_keras.augmenter`.
        seed: int.
        strategy: trains the model on its replicas; what is returned has
            none.
        fit: function (model, batches, `schedules.Plan`, seed) that trains,
            where `batches` is as for `training.fit`, which is the default; a
            third argument names replicas as in `data.pipelines.pretraining`.

    Raises:
        ValueError: if an argument is out of its range, or parts that were to
            be frozen changed.
    """
    steps = schedules.plan(
        split.num_examples,
        train_batch_size=train_batch_size,
        train_epochs=train_epochs,
        train_steps=train_steps,
        warmup_epochs=warmup_epochs,
    )
    views = {"crop": crop, "flip_probability": flip_probability}
    image_size = encoder.input_shape[1]

    def classifier():
        return Classifier(
            normalization.fused_batch_norm(encoder),
            num_classes,
            projection_head=projection_head
            and normalization.fused_batch_norm(projection_head),
            augmenter=augment.crop_and_flip(image_size, **views),
            ft_proj_selector=ft_proj_selector,
            fine_tune_after_block=fine_tune_after_block,
            zero_init_logits_layer=zero_init_logits_layer,
            move_frozen_statistics=move_frozen_statistics,
            seed=seed,
        )

    peak = schedules.scaled_learning_rate(
        learning_rate, steps.batch_size, learning_rate_scaling
    )
    rate = schedules.WarmupCosine(peak, steps.warmup_steps, steps.num_steps)
    with distribution.scope(strategy):
        model = classifier()
        model.compile(
            optimizers.optimizer(optimizer, rate, momentum, weight_decay)
        )
    before = digests(model.frozen_weights)
    batches = _batches(split, steps.batch_size, image_size, seed, views)
    (fit or _fit)(model, batches, steps, seed)
    if not move_frozen_statistics:
        check_unchanged(model.frozen_weights, before)
    if strategy is None:
        return model
    copy = classifier()
    copy.set_weights(model.get_weights())
    return copy


def _num_classes(train, num_classes):
    if not train.has_labels:
        raise ValueError("`train` must have labels. Received: images alone")
    if train.labels is None:
        if num_classes is None:
            raise ValueError(
                "`num_classes` must be given for a data set that is streamed. "
                "Received: num_classes=None"
            )
        return num_classes
    checks.labels("train", train.labels, num_classes)
    return num_classes or int(train.labels.max()) + 1


def _batches(split, batch_size, image_size, seed, views):
    def batches(first_step, num_steps, replicas=(1, 0, 1)):
        return data.pipelines.pretraining(
            split,
            batch_size,
            image_size=image_size,
            seed=seed,
            first_step=first_step,
            num_steps=num_steps,
            replicas=replicas,
            num_views=1,
            **views,
        )

    return batches


def _fit(model, batches, steps, seed):
    training.fit(model, batches, 0, steps.num_steps, steps.steps_per_epoch, [])


_LENGTH = ("train_batch_size", "train_epochs", "train_steps", "warmup_epochs")
_SETTINGS = {
    name: parameter.default
    for name, parameter in inspect.signature(fine_tuned).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
    and name not in ("projection_head", "seed", "strategy", "fit")
}


def _protocol(steps, num_fits, settings):
    after = settings["fine_tune_after_block"]
    selector = settings["ft_proj_selector"]
    parts = [
        f"{FROZEN[after]} frozen" if after >= 0 else "whole encoder trained",
        f"classifier on layer {selector} of the projection head"
        if selector
        else "linear classifier on the embedding",
        f"{steps.num_steps:,} steps of {steps.batch_size} images by "
        f"{settings['optimizer']}",
        "random crops and flips",
        "tested after the last step",
    ]
    if num_fits > 1:
        parts.append(
            f"mean over {num_fits} fits, standard deviation and standard "
            "error over them, one test set"
        )
    else:
        parts.append("one fit, standard error over the test examples")
    return "training with labels: " + "; ".join(parts)
