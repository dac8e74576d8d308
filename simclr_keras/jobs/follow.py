"""`--mode=eval`: measures the checkpoints of a run while it trains."""

import pathlib
import sys

import simclr_keras
from simclr_keras import flags
from simclr_keras import run_files
from simclr_keras.flags import evaluation as evaluation_flags
from simclr_keras.flags import finetuning as finetuning_flags
from simclr_keras.flags import run as run_flags
from simclr_keras.jobs import claiming


def is_asked_for():
    """Whether `--mode=eval` means the run in `--model_dir`."""
    train, _ = run_flags.mode()
    return not train and finetuning_flags.checkpoint() is None


def parse(argv=None):
    """`flags.parse`, with the run's own settings where it is followed.

    The command line overrules them.
    """
    argv = sys.argv if argv is None else argv
    given = flags.parse(argv)
    path = pathlib.Path(run_flags.model_dir() or "") / "run.flags"
    if not (is_asked_for() and path.is_file()):
        return given
    _refuse_other_training(path.parent)
    return flags.parse([argv[0], f"--flagfile={path}", *argv[1:]])


def _refuse_other_training(model_dir):
    """Ends the program if the run there is none of pretraining."""
    try:
        config = run_files.read_json(model_dir / "config.json") or {}
    except (OSError, ValueError):
        # `found` says what is wrong with it.
        return
    train_mode = config.get("flags", {}).get("train_mode", "pretrain")
    if train_mode != "pretrain":
        flags.refuse(
            f"flag --mode=eval: must be train_then_eval for {model_dir}, a run "
            f"of --train_mode={train_mode}, which measures itself at its end"
        )


def found(settings, source):
    """What the `config.json` of the run says; ends the program if there is
    none, or it is that of another run."""
    if source.train is None or source.test is None:
        flags.refuse("flag --mode=eval: needs labelled images to test on")
    model_dir = pathlib.Path(run_flags.model_dir())
    path = model_dir / "config.json"
    try:
        config = run_files.read_json(path)
    except (OSError, ValueError) as error:
        flags.refuse(f"flag --model_dir={model_dir}: {path}: {error}")
    if config is None:
        flags.refuse(
            f"flag --model_dir={model_dir}: has no run to follow; start the "
            "training first, or name other weights with --checkpoint"
        )
    if different := claiming.differences(settings, source, config):
        flags.refuse(
            f"flag --model_dir={model_dir}: holds a run with other settings",
            *different,
        )
    return config


def follow(config, last_step, build, measure):
    """Measures each new checkpoint, and the encoder that training ends with.

    Args:
        config: from `found`.
        last_step: int, updates of the whole run.
        build: function that returns an encoder of such a run.
        measure: function (encoder, whether beside baselines) -> dict.
    """
    following = simclr_keras.following
    model_dir = pathlib.Path(run_flags.model_dir())
    known = {line["step"] for line in following.evaluations(model_dir)}
    encoder = build()
    try:
        for step, weights in following.checkpoints(
            model_dir, patience=evaluation_flags.patience(), known=known
        ):
            _give(encoder, weights)
            print(f"checkpoint of step {step:,} of {last_step:,}")
            results = measure(encoder, False)
            following.append(model_dir, {"step": step, **results})
    except following.NoSignOfTraining as error:
        sys.exit(f"stopped: {error}")
    print("training has ended; its final encoder:")
    _give(encoder, _final(model_dir))
    results = measure(encoder, True)
    following.append(model_dir, {"step": last_step, **results})
    if config["flags"].get("mode") == "train":
        # Nobody else writes it.
        run_files.write_json(model_dir / "results.json", results)
        print(f"results: {model_dir / 'results.json'}")


def _give(encoder, weights):
    try:
        simclr_keras.following.give_weights(encoder, weights)
    except ValueError as error:
        flags.refuse(f"flag --model_dir={run_flags.model_dir()}: {error}")


def _final(model_dir):
    try:
        encoder = simclr_keras.load_encoder(model_dir / "encoder.keras")
    except (ValueError, OSError) as error:
        flags.refuse(f"flag --model_dir={model_dir}: {error}")
    return {w.path: w.numpy() for w in encoder.weights}
