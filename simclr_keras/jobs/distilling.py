"""Training a student on what a teacher says of images without labels."""

import math
import sys

import numpy as np

import simclr_keras
from simclr_keras import data
from simclr_keras import flags
from simclr_keras.flags import augmentation as augmentation_flags
from simclr_keras.flags import data as data_flags
from simclr_keras.flags import distillation as distillation_flags
from simclr_keras.flags import evaluation as evaluation_flags
from simclr_keras.flags import finetuning as finetuning_flags
from simclr_keras.flags import model as model_flags
from simclr_keras.flags import optimization as optimization_flags
from simclr_keras.flags import run as run_flags
from simclr_keras.jobs import devices
from simclr_keras.jobs import finetuning
from simclr_keras.jobs import fitting


def images(source):
    """The images to learn from, with the labels that count: `data.Split`."""
    if distillation_flags.distiller()["alpha"] == 1:
        return source.pretrain.with_labels(None)
    if not source.pretrain.has_labels:
        flags.refuse(
            "flag --distillation_alpha: must be 1 for images without labels, "
            f"as those of {source.name} to train on"
        )
    rows = finetuning.labelled_rows(source)
    known = source.pretrain.labels
    labels = np.full_like(known, -1)
    labelled = np.flatnonzero(known >= 0)[rows]
    labels[labelled] = known[labelled]
    return source.pretrain.with_labels(labels)


def teacher(source, strategy):
    """The `Teacher` of `--checkpoint`; a mistake ends the program."""
    path = finetuning_flags.checkpoint()
    try:
        with simclr_keras.distribution.scope(strategy):
            return simclr_keras.teacher.load_teacher(
                path,
                data_flags.image_size(),
                num_classes=source.num_classes,
                ft_proj_selector=model_flags.simclr()["ft_proj_selector"],
            )
    except ValueError as error:
        flags.refuse(f"flag --checkpoint={path}: {error}")


def train(run, taught_by):
    """Trains a student and, if that is asked for, tests it and the teacher.

    Args:
        run: `claiming.Run`.
        taught_by: `Teacher`.

    Returns:
        `Classifier`, the student.
    """
    devices.prepare_keras()
    student = _distilled(run, taught_by)
    _, evaluate = run_flags.mode()
    if not evaluate or not devices.is_chief():
        return student
    if run.source.test is None:
        print("no labelled test images: nothing to measure")
        return student
    results = _measured(run, student=student, teacher=taught_by)
    run.write_results(
        {name: {"distill": result} for name, result in results.items()},
        num_train=run.split.num_examples,
        num_examples=results["student"]["num_examples"],
        draws=1,
    )
    print("\n".join(_described(*item) for item in results.items()))
    return student


def _student(num_classes):
    encoder = simclr_keras.resnet(**model_flags.resnet())
    return simclr_keras.classifier.Classifier(
        encoder, num_classes, seed=run_flags.seed()
    )


def _distilled(run, taught_by):
    """The student after its last step, without replicas."""
    steps = fitting.plan(run.split)
    with simclr_keras.distribution.scope(run.strategy):
        model = simclr_keras.Distiller(
            taught_by,
            _student(taught_by.num_classes),
            augmenter=simclr_keras.augment.crop_and_flip(
                data_flags.image_size(), **augmentation_flags.geometry()
            ),
            seed=run_flags.seed(),
            **distillation_flags.distiller(),
        )
        model.compile(fitting.optimizer(steps))
    print(
        f"{taught_by.name}, {taught_by.count_params():,} parameters, teaches "
        f"{model.count_params():,}"
    )
    fit = fitting.Fitting(model, run, steps)
    with fit.explained():
        fit.fit(
            run.split,
            lambda *part: fitting.batches(run.split, *part, num_views=1),
            chance=math.log(taught_by.num_classes),
        )
        if devices.is_chief():
            finetuning.save(run, model)
    if run.strategy is None:
        return model.student
    copy = _student(taught_by.num_classes)
    copy.set_weights(model.student.get_weights())
    return copy


def _measured(run, **classifiers):
    """Results of each classifier on the test images, by name."""
    settings = {
        "num_train": run.split.num_examples,
        "seeds": [run_flags.seed()],
        **finetuning_flags.labels(),
        **distillation_flags.distiller(),
        **optimization_flags.training(),
        **augmentation_flags.geometry(),
    }
    results = {}
    for name, classifier in classifiers.items():
        size = getattr(classifier, "image_size", None)
        pipeline = evaluation_flags.pipeline()
        test = data.pipelines.evaluation(
            run.source.test, **pipeline | ({"image_size": size} if size else {})
        )
        results[name] = simclr_keras.evaluation.classification.run(
            classifier,
            test.take(evaluation_flags.num_batches()),
            verbose=sys.stderr.isatty(),
        )
    results["student"] |= settings
    return results


def _described(name, result):
    return (
        f"{name}: top-1 {result['top1']:.1%} of {result['num_examples']:,} "
        f"test images, standard error {result['top1_standard_error']:.1%}, "
        f"{result['num_parameters']:,} parameters"
    )
