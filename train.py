"""Pretrains an encoder with SimCLR, measures it, and exports it for serving.

    python train.py --dataset=cifar10 --model_dir=runs/cifar10

reads, top to bottom, as the method does: open the images, build two views,
encoder, head and loss, train, evaluate the frozen encoder, export.
"""

import os
import pathlib
import sys

# TensorFlow's start-up notices bury what the run itself has to say.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves oneDNN off on CPUs without AVX-512, where it is as useful.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import simclr_keras
from simclr_keras import data
from simclr_keras import flags
from simclr_keras import run_files
from simclr_keras.flags import augmentation as augmentation_flags
from simclr_keras.flags import data as data_flags
from simclr_keras.flags import devices as device_flags
from simclr_keras.flags import evaluation as evaluation_flags
from simclr_keras.flags import export as export_flags
from simclr_keras.flags import model as model_flags
from simclr_keras.flags import optimization as optimization_flags
from simclr_keras.flags import run as run_flags


def main(argv=None):
    """Runs what the command line asks for."""
    given = flags.parse(argv)
    source = open_source()
    settings = flags.resolve(
        given,
        image_size=source.image_size,
        num_examples=source.pretrain.num_examples,
        smallest_class=source.smallest_class,
    )
    model_dir = start(settings, source)
    train, evaluate = run_flags.mode()
    model = build(source)
    if train:
        pretrain(model, source, model_dir)
    probe = measure(model, source, model_dir) if evaluate else None
    if export_flags.export():
        export(model, probe, source, model_dir)


def open_source():
    """The images of `--dataset`; a mistake ends the run with a message."""
    try:
        return data.open_source(**data_flags.source())
    except (ValueError, OSError, RuntimeError) as error:
        flags.refuse(f"flag --dataset: {error}")


def start(settings, source):
    """Says what will happen, and keeps it in `model_dir`."""
    print(data.describe(source))
    print("\n".join(settings.lines()))
    model_dir = pathlib.Path(run_flags.model_dir())
    refuse_another_run(settings, source, model_dir)
    model_dir.mkdir(parents=True, exist_ok=True)
    flags.snapshot(model_dir / "run.flags")
    run_files.write_json(
        model_dir / "config.json",
        {
            **settings.as_dict(),
            "dataset": {
                "name": source.name,
                "fingerprint": source.fingerprint,
                "num_examples": source.pretrain.num_examples,
                "num_classes": source.num_classes,
            },
            "environment": run_files.environment(),
        },
    )
    return model_dir


def refuse_another_run(settings, source, model_dir):
    """Ends the program if `model_dir` holds a run with other settings."""
    config = run_files.read_json(model_dir / "config.json")
    if config is None:
        return
    found = settings.differences(config["flags"])
    if config["dataset"]["fingerprint"] != source.fingerprint:
        found.append("the data are not the same images and labels")
    if found:
        flags.refuse(
            f"flag --model_dir={model_dir}: holds a run with other settings, "
            "which cannot be continued; choose another folder",
            *found,
        )


def build(source):
    """Encoder, projection head and augmentation, ready to `fit`."""
    import keras  # Only now: a mistake was answered without TensorFlow.

    keras.utils.set_random_seed(run_flags.seed())
    keras.config.set_dtype_policy(device_flags.dtype_policy())
    encoder = simclr_keras.resnet(**model_flags.resnet())
    head = simclr_keras.projection_head(
        features=encoder.output_shape[-1], **model_flags.projection_head()
    )
    probe = evaluation_flags.lineareval_while_pretraining()
    labelled = probe and source.pretrain.has_labels
    model = simclr_keras.SimCLR(
        encoder,
        head,
        simclr_keras.augmenter(**augmentation_flags.augmenter()),
        num_classes=source.num_classes if labelled else None,
        **model_flags.simclr(),
    )
    model.compile(optimizer(source.pretrain.num_examples))
    return model


def optimizer(num_examples):
    """The optimizer with its schedule for a data set of this size."""
    schedule = simclr_keras.WarmupCosine(
        simclr_keras.schedules.scaled_learning_rate(
            **optimization_flags.scaled_learning_rate()
        ),
        simclr_keras.schedules.warmup_steps(
            num_examples, **optimization_flags.warmup_steps()
        ),
        total_steps(num_examples),
    )
    return simclr_keras.optimizers.optimizer(
        learning_rate=schedule, **optimization_flags.optimizer()
    )


def total_steps(num_examples):
    """Updates of the whole run on a data set of this size."""
    return simclr_keras.schedules.total_steps(
        num_examples, **optimization_flags.total_steps()
    )


def pretrain(model, source, model_dir):
    """Trains until the last step, from the last checkpoint on if any."""
    split, batch_size = source.pretrain, optimization_flags.train_batch_size()
    steps_per_epoch = data.pipelines.steps_per_epoch(split, batch_size)
    last_step = total_steps(split.num_examples)
    checkpoints = simclr_keras.training_state.Checkpoints(
        model_dir / "checkpoints",
        run_flags.keep_checkpoint_max(),
        model=model,
        optimizer=model.optimizer,
    )
    first_step = checkpoints.restore()
    if first_step:
        print(f"resuming at step {first_step} of {last_step}")
    clock = data.pipelines.WaitClock()

    def batches(step, num_steps):
        dataset = data.pipelines.pretraining(
            split,
            first_step=step,
            num_steps=num_steps,
            **augmentation_flags.pipeline(),
        )
        return data.pipelines.timed(dataset, clock)

    saver = simclr_keras.callbacks.SaveCheckpoint(
        checkpoints, first_step, run_flags.checkpoint_period(steps_per_epoch)
    )
    watchers = [
        simclr_keras.callbacks.ProgressBar(
            last_step, first_step, batch_size, clock
        ),
        simclr_keras.callbacks.MetricsLog(
            model_dir, first_step, run_flags.summary_period(), batch_size, clock
        ),
        simclr_keras.callbacks.StopAtNonFiniteLoss(first_step),
        saver,
    ]
    try:
        simclr_keras.training.fit(
            model, batches, first_step, last_step, steps_per_epoch, watchers
        )
    except simclr_keras.callbacks.NonFiniteLoss as error:
        sys.exit(
            f"stopped: {error}. The learning rate is the usual cause: try a "
            "third of --learning_rate in a new --model_dir. Checkpoints up to "
            f"step {max(checkpoints.steps(), default=0)} are kept."
        )
    saver.save()
    simclr_keras.save_encoder(model, model_dir / "encoder.keras")


def measure(model, source, model_dir):
    """Evaluates the frozen encoder beside its baselines; returns the probe."""
    if source.train is None or source.test is None:
        print("no labelled test images: nothing to measure")
        return None
    compare = simclr_keras.evaluation.compare
    train, test = (
        data.pipelines.evaluation(split, **evaluation_flags.pipeline())
        for split in (source.train, source.test)
    )
    pixels = compare.raw_pixels(
        data_flags.image_size(), grayscale=compare.is_grayscale(train)
    )
    results, probe = compare.run_with_probe(
        model.encoder,
        {"raw pixels": pixels, "random encoder": untrained_encoder()},
        train,
        test.take(evaluation_flags.num_batches()),
        num_classes=source.num_classes,
        verbose=sys.stderr.isatty(),
        **evaluation_flags.compare(),
    )
    run_files.write_json(model_dir / "results.json", results)
    if probe is not None:
        run_files.write_npz(
            model_dir / "linear_probe.npz",
            kernel=probe.kernel,
            bias=probe.bias,
            class_names=source.class_names,
        )
    print("\n".join(compare.table(results)))
    return probe


def untrained_encoder():
    """The same network with its initial weights, as a baseline."""
    return simclr_keras.resnet(**model_flags.resnet())


def export(model, probe, source, model_dir):
    """Writes what is measured above as the next SavedModel version."""
    versions = model_dir / "saved_model"
    path = simclr_keras.export.export_saved_model(
        model.encoder,
        simclr_keras.export.next_version(versions),
        classifier=probe and probe.to_keras(),
        projection_head=model.projection_head,
        class_names=source.class_names if probe else None,
        **export_flags.export_saved_model(),
    )
    simclr_keras.export.prune_versions(versions, export_flags.keep_versions())
    print(f"exported {path}")
    print(simclr_keras.export.describe(path))


def cli():
    """Entry point of the console script `simclr-train`."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from the checkpoint")


if __name__ == "__main__":
    cli()
