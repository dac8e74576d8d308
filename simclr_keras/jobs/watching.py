"""What a run measures of its encoder while it pretrains."""

import simclr_keras
from simclr_keras import data
from simclr_keras import flags
from simclr_keras.flags import data as data_flags
from simclr_keras.flags import evaluation as evaluation_flags


def check(source):
    """Ends the program if `--eval_every` asks for what the data lack."""
    every = evaluation_flags.every()
    if not every:
        return
    try:
        if source.train is None:
            raise ValueError("needs labelled images to train on")
        labels = source.train.known_labels
        if labels is not None:
            simclr_keras.evaluation.held_out.check(labels)
    except ValueError as error:
        flags.refuse(f"flag --eval_every={every}: {error}")


def callbacks(run, steps, first_step, copy):
    """The monitors of a run, for its chief.

    Args:
        run: `claiming.Run`.
        steps: `schedules.Plan`.
        first_step: int, updates done before.
        copy: as for `monitors.Monitor`.
    """
    source, monitors = run.source, simclr_keras.monitors
    images = data.sampling.first_images(
        source.pretrain,
        min(monitors.SPHERE_IMAGES, steps.batch_size),
        data_flags.image_size(),
    )
    place = {
        "steps_per_epoch": steps.steps_per_epoch,
        "last_step": steps.num_steps,
        "first_step": first_step,
        "copy": copy,
    }
    found = [monitors.Sphere(images, **place)]
    if every := evaluation_flags.every():
        evaluate = _evaluation(source)
        found.append(monitors.Best(evaluate, run.model_dir, every, **place))
    return found


def _evaluation(source):
    """Function from an encoder to its accuracies on held-out images."""
    held_out = simclr_keras.evaluation.held_out
    arguments = evaluation_flags.held_out()
    images = held_out.images(
        source.train, seed=arguments["seed"], **evaluation_flags.pipeline()
    )
    return lambda encoder: held_out.run(
        encoder, images, num_classes=source.num_classes, **arguments
    )
