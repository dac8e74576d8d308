"""Pretrains an encoder with SimCLR, measures it, and exports it for serving.

    python train.py --dataset=cifar10 --model_dir=runs/cifar10

reads, top to bottom, as the method does: open the images, build two views,
encoder, head and loss, train, evaluate the frozen encoder, export.
"""

import os
import shlex
import sys
import zlib

# TensorFlow's start-up notices bury what the run itself has to say.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves oneDNN off on CPUs without AVX-512, where it is as useful.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import simclr_keras
from simclr_keras import cluster
from simclr_keras import data
from simclr_keras import flags
from simclr_keras import run_directory
from simclr_keras import run_files
from simclr_keras.export import provenance
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
    strategy = devices()
    source = open_source()
    settings = flags.resolve(
        given,
        image_size=source.image_size,
        num_examples=source.pretrain.num_examples,
        smallest_class=source.smallest_class,
    )
    print(data.describe(source))
    print("\n".join(settings.lines()))
    if strategy is not None:
        flags.check_replicas(strategy.num_replicas_in_sync)
        print(f"replicas: {strategy.num_replicas_in_sync}")
    if optimization_flags.lr_range_test():
        if is_chief():
            lr_range_test(build(source), source)
        return
    directory = claim(settings, source)
    if directory is None:
        return
    with simclr_keras.report.written_at_the_end(
        directory.path if is_chief() else None,
        total_steps(source.pretrain.num_examples),
    ):
        work(settings, source, strategy, directory)


def work(settings, source, strategy, directory):
    """Trains, evaluates and exports, as far as it is asked for."""
    model_dir = directory.path
    train, evaluate = run_flags.mode()
    model = build(source, strategy)
    if train:
        agree = zlib.crc32(
            repr((settings.training(), source.fingerprint)).encode()
        )
        pretrain(model, source, model_dir, strategy, agree)
    if not is_chief():
        return
    if strategy is not None:
        model = on_one_device(model, source)
    probe = measure(model, source, model_dir) if evaluate else None
    if evaluate:
        simclr_keras.report.recording.embeddings(
            model_dir, model, source, probe, **evaluation_flags.pipeline()
        )
    if export_flags.export():
        export(model, probe, source, model_dir)
    directory.write_config(config(settings, source), finished=True)


def devices():
    """The strategy for this process; None for one device.

    Of several workers, all but the chief print only what goes wrong.
    """
    arguments = device_flags.strategy()
    name = arguments["name"]
    try:
        if cluster.strategy_name(name, arguments["devices"]) == "one":
            return None
        if not is_chief():
            worker = cluster.cluster()
            print(
                f"worker {worker.index} of {worker.num_workers}: see worker 0"
            )
            sys.stdout = open(os.devnull, "w")
        return simclr_keras.distribution.strategy(**arguments)
    except ValueError as error:
        flags.refuse(f"flag --strategy={name}: {error}")


def is_chief():
    """Whether this process is the one that writes."""
    return cluster.cluster().is_chief


def open_source():
    """The images of `--dataset`; a mistake ends the run with a message."""
    try:
        return data.open_source(**data_flags.source())
    except (ValueError, OSError, RuntimeError) as error:
        flags.refuse(f"flag --dataset: {error}")


def claim(settings, source):
    """The run's directory, for this run alone; None if all is done there."""
    path = run_flags.model_dir()
    dataset = data_flags.source()["dataset"]
    if dataset != "digits" and os.path.realpath(path) == os.path.realpath(
        dataset
    ):
        flags.refuse(
            f"flag --model_dir={path}: must not be the folder of the images"
        )
    directory = run_directory.RunDirectory(path)
    if not is_chief():
        before = None if run_flags.overwrite() else directory.config()
        finished = before and is_finished(settings, directory, before)
        return None if finished else directory
    try:
        directory.lock()
        if run_flags.overwrite():
            directory.clear()
        before = directory.config()
    except (OSError, ValueError) as error:
        flags.refuse(f"flag --model_dir={path}: {error}")
    if found := directory.foreign():
        flags.refuse(
            f"flag --model_dir={path}: has no run, but files that a run would "
            f"replace ({', '.join(found)}); choose another folder"
        )
    if before is not None:
        refuse_another_run(settings, source, before)
        if is_finished(settings, directory, before):
            print(f"this run is finished; {path} holds what it made")
            print("nothing to do; --overwrite starts it anew")
            return None
    directory.write_config(config(settings, source))
    flags.snapshot(directory.path / "run.flags")
    return directory


def refuse_another_run(settings, source, before):
    """Ends the program if the run so far had other settings or data."""
    found = settings.differences(before["flags"])
    if before["dataset"]["fingerprint"] != source.fingerprint:
        found.append("the data are not the same images and labels")
    if found:
        flags.refuse(
            f"flag --model_dir={run_flags.model_dir()}: holds a run with other "
            "settings, which cannot be continued; choose another folder, or "
            "--overwrite deletes that run",
            *found,
        )


def is_finished(settings, directory, before):
    """Whether the run so far has already done what this one would."""
    return (
        before["finished"]
        and settings.same_as(before["flags"])
        and (directory.path / "encoder.keras").exists()
    )


def config(settings, source):
    """What `config.json` keeps of the run."""
    return {
        **settings.as_dict(),
        "dataset": {
            "name": source.name,
            "fingerprint": source.fingerprint,
            "num_examples": source.pretrain.num_examples,
            "num_classes": source.num_classes,
        },
        "environment": run_files.environment(),
    }


def build(source, strategy=None):
    """Encoder, projection head and augmentation, ready to `fit`."""
    import keras  # Only now: a mistake was answered without TensorFlow.

    keras.utils.set_random_seed(run_flags.seed())
    keras.config.set_dtype_policy(device_flags.dtype_policy())
    with simclr_keras.distribution.scope(strategy):
        return model_of(source)


def on_one_device(model, source):
    """A copy that evaluation and export can use without the replicas."""
    copy = build(source)
    copy.set_weights(model.get_weights())
    return copy


def model_of(source):
    """The compiled model that the flags describe."""
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
        micro_batch_size=optimization_flags.micro_batch_size(),
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


def pretrain(model, source, model_dir, strategy, agree):
    """Trains until the last step, from the last checkpoint on if any.

    Args:
        strategy: that of the model, or None.
        agree: int, equal on workers that are to compute the same.
    """
    split, batch_size = source.pretrain, optimization_flags.train_batch_size()
    steps_per_epoch = data.pipelines.steps_per_epoch(split, batch_size)
    last_step = total_steps(split.num_examples)
    checkpoints = simclr_keras.training_state.Checkpoints(
        model_dir / "checkpoints",
        run_flags.keep_checkpoint_max(),
        read_only=not is_chief(),
        **simclr_keras.training_state.state(model),
    )
    first_step = checkpoints.restore()
    distribution = simclr_keras.distribution
    agree = (agree + first_step) % 2**31
    if not distribution.equal_on_all_workers(strategy, agree):
        flags.refuse(
            f"flag --model_dir={model_dir}: workers differ in their flags, "
            "their images, or the checkpoint they found there; all need the "
            "same command, and --model_dir on storage that they share"
        )
    if first_step:
        print(f"resuming at step {first_step} of {last_step}")
    elif run_flags.init_from():
        init_from(model)
    # Under a strategy, which prefetches by itself, nobody sees the waiting.
    clock = data.pipelines.WaitClock() if strategy is None else None

    def batches(step, num_steps):
        dataset = distribution.per_replica(
            strategy,
            lambda *replicas: pretraining_batches(
                split, step, num_steps, replicas
            ),
        )
        return data.pipelines.timed(dataset, clock) if clock else dataset

    callbacks = simclr_keras.callbacks
    saver = callbacks.SaveCheckpoint(
        checkpoints, first_step, run_flags.checkpoint_period(steps_per_epoch)
    )
    model.worker_flag = distribution.worker_flag(strategy)
    signals = callbacks.StopAtSignal(saver, model.worker_flag)
    watchers = [callbacks.StopAtNonFiniteLoss(first_step), saver, signals]
    if is_chief():
        watchers = [
            callbacks.ProgressBar(last_step, first_step, batch_size, clock),
            callbacks.MetricsLog(
                model_dir,
                first_step,
                run_flags.summary_period(),
                batch_size,
                clock,
            ),
            diagnostics(split, steps_per_epoch, first_step, clock),
            *watchers,
        ]
    try:
        if first_step < last_step and is_chief():
            check_first_batch(model, source, model_dir, first_step)
        with (
            signals,
            data.pipelines.damaged_files_named(split),
            distribution.lost_workers_named(strategy),
        ):
            simclr_keras.training.fit(
                model, batches, first_step, last_step, steps_per_epoch, watchers
            )
        saver.save()
        skipped = callbacks.skipped_steps(model, saver.done)
        if skipped.get("skipped_steps"):
            print(
                f"{skipped['skipped_steps']} steps overflowed in float16 and "
                "were skipped"
            )
        if is_chief():
            simclr_keras.save_encoder(model, model_dir / "encoder.keras")
            simclr_keras.save_encoder(
                model.projection_head, model_dir / "projection_head.keras"
            )
    except callbacks.NonFiniteLoss as error:
        stop(
            checkpoints,
            f"{error}. The learning rate is the usual cause: try a third of "
            "--learning_rate in a new --model_dir, or --lr_range_test",
        )
    except callbacks.Interrupted as error:
        again = f"{error} received. To go on: {command()}"
        stop(checkpoints, again, code=128 + error.number)
    except OSError as error:
        stop(checkpoints, f"{error}. When that is mended, go on: {command()}")


def pretraining_batches(split, step, num_steps, replicas=(1, 0, 1)):
    """`num_steps` batches of a split, from that of `step` on."""
    return data.pipelines.pretraining(
        split,
        first_step=step,
        num_steps=num_steps,
        replicas=replicas,
        **augmentation_flags.pipeline(),
    )


def check_first_batch(model, source, model_dir, step):
    """Warns if the batch of a step cannot teach anything, and keeps a part."""
    split = source.pretrain
    with data.pipelines.damaged_files_named(split):
        batch = next(iter(pretraining_batches(split, step, 1)))
        images = batch[0] if split.has_labels else batch
        simclr_keras.diagnostics.check_first_batch(model, images, step)
        simclr_keras.report.recording.samples(
            model_dir, model, source, images, step
        )


def diagnostics(split, steps_per_epoch, first_step, clock):
    """The callback that warns of a run that goes wrong."""
    return simclr_keras.diagnostics.Diagnostics(
        optimization_flags.train_batch_size(),
        steps_per_epoch,
        simclr_keras.schedules.warmup_steps(
            split.num_examples, **optimization_flags.warmup_steps()
        ),
        first_step,
        clock,
    )


def lr_range_test(model, source):
    """Looks for the largest stable learning rate instead of training."""
    sweep = simclr_keras.lr_range_test
    scaling = optimization_flags.scaled_learning_rate() | {"learning_rate": 1.0}
    try:
        result = sweep.run(
            model,
            lambda *steps: pretraining_batches(source.pretrain, *steps),
            batch_size=optimization_flags.train_batch_size(),
            scale=simclr_keras.schedules.scaled_learning_rate(**scaling),
        )
    except ValueError as error:
        flags.refuse(f"flag --lr_range_test: {error}")
    os.makedirs(run_flags.model_dir(), exist_ok=True)
    sweep.write(result, run_flags.model_dir())
    print(sweep.describe(result))


def init_from(model):
    """Starts from the weights of `--init_from`, and says which they are."""
    path = run_flags.init_from()
    try:
        print(simclr_keras.initialization.init_from(model, path))
    except ValueError as error:
        flags.refuse(f"flag --init_from={path}: {error}")


def stop(checkpoints, reason, code=1):
    """Ends the program with the reason and what there is to go on from."""
    step = max(checkpoints.steps(), default=None)
    kept = "no checkpoint yet"
    if step is not None:
        kept = f"checkpoint of step {step} in place"
    print(f"\nstopped, {kept}: {reason}", file=sys.stderr)
    sys.exit(code)


def command():
    """The command line that goes on with this run."""
    program, *arguments = sys.argv
    again = [a for a in arguments if not a.lstrip("-").startswith("overwrite")]
    start = ["python"] if program.endswith(".py") else []
    return shlex.join([*start, program, *again])


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
    try:
        path = simclr_keras.export.export_saved_model(
            model.encoder,
            simclr_keras.export.next_version(versions),
            classifier=probe and probe.to_keras(),
            projection_head=model.projection_head,
            class_names=source.class_names if probe else None,
            provenance=provenance.of_run(model_dir),
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
