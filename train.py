"""Pretrains an encoder with SimCLR, measures it, and exports it for serving.

    python train.py --dataset=cifar10 --model_dir=runs/cifar10

reads, top to bottom, as the method does: open the images, build two views,
encoder, head and loss, train, evaluate the frozen encoder, export.
"""

import os
import sys

# TensorFlow's start-up notices bury what the run itself has to say.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves oneDNN off on CPUs without AVX-512, where it is as useful.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import simclr_keras
from simclr_keras import data
from simclr_keras import flags
from simclr_keras import run_files
from simclr_keras.export import provenance
from simclr_keras.flags import augmentation as augmentation_flags
from simclr_keras.flags import data as data_flags
from simclr_keras.flags import evaluation as evaluation_flags
from simclr_keras.flags import export as export_flags
from simclr_keras.flags import finetuning as finetuning_flags
from simclr_keras.flags import model as model_flags
from simclr_keras.flags import optimization as optimization_flags
from simclr_keras.flags import run as run_flags
from simclr_keras.jobs import claiming
from simclr_keras.jobs import devices
from simclr_keras.jobs import distilling
from simclr_keras.jobs import finetuning
from simclr_keras.jobs import fitting
from simclr_keras.jobs import follow
from simclr_keras.jobs import starting
from simclr_keras.jobs import sweeping
from simclr_keras.jobs import watching

# What trains a classifier, by --train_mode.
_CLASSIFYING = {"finetune": finetuning, "distill": distilling}


def main(argv=None):
    """Runs what the command line asks for."""
    given = follow.parse(argv)
    strategy = devices.strategy()
    weights = starting.weights()
    source = open_source()
    split, train_mode = source.pretrain, finetuning_flags.train_mode()
    if train_mode == "finetune":
        split = finetuning.labelled(source)
    elif train_mode == "distill":
        split = distilling.images(source)
    settings = flags.resolve(
        given,
        image_size=source.image_size,
        num_examples=split.num_examples,
        smallest_class=source.smallest_class,
        checkpoint=starting.settings(weights, given),
    )
    print(data.describe(source))
    print("\n".join(settings.lines()))
    if strategy is not None:
        flags.check_replicas(strategy.num_replicas_in_sync)
        print(f"replicas: {strategy.num_replicas_in_sync}")
    if optimization_flags.lr_range_test():
        if devices.is_chief():
            sweeping.lr_range_test(
                build(source), lambda *part: fitting.batches(split, *part)
            )
        return
    if follow.is_asked_for():
        follow.follow(
            follow.found(settings, source),
            fitting.plan(source.pretrain).num_steps,
            lambda: build(source).encoder,
            lambda *encoder: compared(*encoder, source)[0],
        )
        return
    watching.check(source)
    if train_mode == "distill":
        weights = distilling.teacher(source, strategy)
    run = claiming.claim(settings, source, split, strategy, weights)
    if run is None:
        return
    with simclr_keras.report.written_at_the_end(
        run.model_dir if devices.is_chief() else None,
        fitting.plan(split).num_steps if run_flags.mode()[0] else 0,
    ):
        work(run, weights)


def work(run, weights):
    """Does what `--train_mode` and `--mode` ask for.

    Args:
        run: `claiming.Run`.
        weights: `pretrained.Pretrained` of `--checkpoint`, or the `Teacher`;
            None without.
    """
    train, evaluate = run_flags.mode()
    source, probe = run.source, None
    if job := _CLASSIFYING.get(finetuning_flags.train_mode()):
        trained = job.train(run, weights)
        model, head = build(source, trained.encoder), None
        probe = finetuning.Probe(trained.classifier)
    elif train:
        model = pretrain(run)
        head = model.projection_head
    else:
        encoder, head = starting.parts(weights)
        model = build(source, encoder, head)
    if not devices.is_chief():
        return
    if evaluate and probe is None:
        probe = measure(model, run, weights)
    if evaluate:
        simclr_keras.report.recording.embeddings(
            run.model_dir, model, source, probe, **evaluation_flags.pipeline()
        )
    if export_flags.export():
        export(model.encoder, head, probe, run)
    run.finish()


def open_source():
    """The images of `--dataset`; a mistake ends the run with a message."""
    try:
        return data.open_source(**data_flags.source())
    except (ValueError, OSError, RuntimeError) as error:
        flags.refuse(f"flag --dataset: {error}")


def build(source, encoder=None, head=None, strategy=None):
    """Encoder, projection head and augmentation, ready to `fit`.

    Args:
        source: `data.Source`.
        encoder, head: trained ones, of which the head may be missing; None
            for new ones as the flags describe them.
        strategy: `tf.distribute.Strategy`, or None.
    """
    devices.prepare_keras()
    with simclr_keras.distribution.scope(strategy):
        return model_of(source, encoder, head)


def on_one_device(model, source):
    """A copy that evaluation and export can use without the replicas."""
    copy = build(source)
    copy.set_weights(model.get_weights())
    return copy


def model_of(source, encoder, head):
    """The compiled model of these parts, or of those of the flags."""
    head_arguments = model_flags.projection_head()
    if encoder is None:
        encoder = simclr_keras.resnet(**model_flags.resnet())
    elif head is None:
        head_arguments["mode"] = "none"
    head = head or simclr_keras.projection_head(
        features=encoder.output_shape[-1], **head_arguments
    )
    probe = evaluation_flags.lineareval_while_pretraining()
    labelled = probe and source.pretrain.has_labels
    model = simclr_keras.SimCLR(
        encoder,
        head,
        simclr_keras.augmenter(**augmentation_flags.augmenter()),
        num_classes=source.num_classes if labelled else None,
        micro_batch_size=optimization_flags.micro_batch_size(),
        **model_flags.simclr(),
    )
    model.compile(fitting.optimizer(fitting.plan(source.pretrain)))
    return model


def pretrain(run):
    """The model after its last step, from the last checkpoint on if any."""
    source, model_dir, split = run.source, run.model_dir, run.split
    model, steps = build(source, strategy=run.strategy), fitting.plan(split)
    fit = fitting.Fitting(model, run, steps)
    if not fit.first_step and run_flags.init_from():
        starting.init_from(model)

    watcher = simclr_keras.diagnostics.Diagnostics(
        steps.batch_size,
        steps.steps_per_epoch,
        steps.warmup_steps,
        fit.first_step,
        fit.clock,
    )
    with fit.explained():
        if devices.is_chief() and not fit.is_done:
            check_first_batch(model, source, model_dir, fit.first_step)
        fit.fit(
            split,
            lambda *part: fitting.batches(split, *part),
            [watcher],
            monitors(run, fit),
        )
        if devices.is_chief():
            simclr_keras.save_encoder(model, model_dir / "encoder.keras")
            simclr_keras.save_encoder(
                model.projection_head, model_dir / "projection_head.keras"
            )
    if run.strategy is None or not devices.is_chief():
        return model
    return on_one_device(model, source)


def monitors(run, fit):
    """What the chief measures in between, on one device."""
    if not devices.is_chief() or fit.is_done:
        return []
    copy = build(run.source) if run.strategy is not None else None
    return watching.callbacks(run, fit.steps, fit.first_step, copy)


def check_first_batch(model, source, model_dir, step):
    """Warns if the batch of a step cannot teach anything, and keeps a part."""
    split = source.pretrain
    with data.pipelines.damaged_files_named(split):
        batch = next(iter(fitting.batches(split, step, 1)))
        images = batch[0] if split.has_labels else batch
        simclr_keras.diagnostics.check_first_batch(model, images, step)
        simclr_keras.report.recording.samples(
            model_dir, model, source, images, step
        )


def measure(model, run, weights):
    """Evaluates the frozen encoder beside its baselines; returns the probe."""
    source, model_dir = run.source, run.model_dir
    if source.train is None or source.test is None:
        print("no labelled test images: nothing to measure")
        return None
    results, probe = compared(model.encoder, True, source, weights)
    run_files.write_json(model_dir / "results.json", results)
    if probe is not None:
        run_files.write_npz(
            model_dir / "linear_probe.npz",
            kernel=probe.kernel,
            bias=probe.bias,
            class_names=source.class_names,
        )
    return probe


def compared(encoder, beside_baselines, source, weights=None):
    """What is measured of a frozen encoder, and its linear probe."""
    compare = simclr_keras.evaluation.compare
    train, test = (
        data.pipelines.evaluation(split, **evaluation_flags.pipeline())
        for split in (source.train, source.test)
    )
    baselines = {}
    if beside_baselines:
        grayscale = compare.is_grayscale(train)
        pixels = compare.raw_pixels(
            data_flags.image_size(), grayscale=grayscale
        )
        baselines = {
            "raw pixels": pixels,
            "random encoder": untrained(encoder, weights),
        }
    results, probe = compare.run_with_probe(
        encoder,
        baselines,
        train,
        test.take(evaluation_flags.num_batches()),
        num_classes=source.num_classes,
        verbose=sys.stderr.isatty(),
        **evaluation_flags.compare(),
    )
    print("\n".join(compare.table(results)))
    return results, probe


def untrained(encoder, weights):
    """The same network with its initial weights, as a baseline."""
    if weights is None:
        return simclr_keras.resnet(**model_flags.resnet())
    return simclr_keras.pretrained.untrained(encoder)


def export(encoder, head, probe, run):
    """Writes what is measured above as the next SavedModel version."""
    versions = run.model_dir / "saved_model"
    try:
        path = simclr_keras.export.export_saved_model(
            encoder,
            simclr_keras.export.next_version(versions),
            classifier=probe and probe.to_keras(),
            projection_head=head,
            class_names=run.source.class_names if probe else None,
            provenance=provenance.of_run(run.model_dir),
            **export_flags.export_saved_model(),
        )
    except ValueError as error:
        # What is served from there may need what this run did not measure.
        print(f"not exported: {error}")
        return
    simclr_keras.export.prune_versions(versions, export_flags.keep_versions())
    print(f"exported {path}")
    print(simclr_keras.export.describe(path))


def cli():
    """Entry point of the console script `simclr-train`."""
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from the checkpoint")
    except OSError as error:
        sys.exit(f"stopped: {error}")


if __name__ == "__main__":
    cli()
