"""The run that this process is to do, in a directory of its own."""

import dataclasses
import hashlib
import os
import pathlib
import zlib

from simclr_keras import data
from simclr_keras import flags
from simclr_keras import run_directory
from simclr_keras import run_files
from simclr_keras.evaluation import features
from simclr_keras.flags import data as data_flags
from simclr_keras.flags import run as run_flags
from simclr_keras.jobs import devices


@dataclasses.dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        settings: `flags.Resolved`.
        source: `data.Source`.
        split: `data.Split` of it to train on.
        strategy: `tf.distribute.Strategy`, or None for one device.
        directory: `RunDirectory`, locked by the chief.
        weights: str, digest of the weights of `--checkpoint`; None without.
    """

    settings: flags.Resolved
    source: data.Source
    split: data.Split
    strategy: object
    directory: run_directory.RunDirectory
    weights: str | None

    @property
    def model_dir(self) -> pathlib.Path:
        return self.directory.path

    def digest(self):
        """An int that is equal on workers that are to compute the same."""
        computed = (
            self.settings.training(),
            self.source.fingerprint,
            self.weights,
        )
        return zlib.crc32(repr(computed).encode())

    def write_results(self, representations, *, num_train, num_examples, draws):
        """Writes `results.json` of a classifier that was trained.

        Args:
            representations: name -> evaluation -> result.
            num_train, num_examples: ints, images trained and tested on.
            draws: int, how many fits the results are means over.
        """
        run_files.write_json(
            self.model_dir / "results.json",
            {
                "num_train": num_train,
                "num_examples": num_examples,
                "seed": run_flags.seed(),
                "draws": draws,
                "representations": representations,
            },
        )

    def finish(self):
        """Marks the run as one with nothing left to do."""
        self.directory.write_config(_config(self), finished=True)


def claim(settings, source, split, strategy, checkpoint):
    """The `Run`, for this process alone; None if all is done there.

    Args:
        settings: `flags.Resolved`.
        source: `data.Source`.
        split: `data.Split` of it to train on.
        strategy: `tf.distribute.Strategy`, or None for one device.
        checkpoint: `Pretrained` or `Teacher` that `--checkpoint` names;
            None without.
    """
    path = run_flags.model_dir()
    dataset = data_flags.source()["dataset"]
    if dataset != "digits" and os.path.realpath(path) == os.path.realpath(
        dataset
    ):
        flags.refuse(
            f"flag --model_dir={path}: must not be the folder of the images"
        )
    directory = run_directory.RunDirectory(path)
    weights = checkpoint and _digest(checkpoint.weights)
    run = Run(settings, source, split, strategy, directory, weights)
    if not devices.is_chief():
        before = None if run_flags.overwrite() else directory.config()
        return None if before and _is_finished(run, before) else run
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
        _refuse_another_run(run, before)
        if _is_finished(run, before):
            print(f"this run is finished; {path} holds what it made")
            print("nothing to do; --overwrite starts it anew")
            return None
    directory.write_config(_config(run))
    flags.snapshot(directory.path / "run.flags")
    return run


def differences(settings, source, before):
    """What makes the run of another `config.json` another one, in lines.

    Args:
        settings: `flags.Resolved`.
        source: `data.Source`.
        before: content of that file.
    """
    found = settings.differences(before["flags"])
    if before["dataset"]["fingerprint"] != source.fingerprint:
        found.append("the data are not the same images and labels")
    return found


def _refuse_another_run(run, before):
    """Ends the program if the run so far had other settings or data."""
    found = differences(run.settings, run.source, before)
    if before.get("weights") != run.weights:
        found.append("the weights of --checkpoint are not the same")
    if found:
        flags.refuse(
            f"flag --model_dir={run_flags.model_dir()}: holds a run with other "
            "settings, which cannot be continued; choose another folder, or "
            "--overwrite deletes that run",
            *found,
        )


def _is_finished(run, before):
    """Whether the run so far has already done what this one would."""
    train, _ = run_flags.mode()
    return (
        before["finished"]
        and run.settings.same_as(before["flags"])
        and (not train or (run.model_dir / "encoder.keras").exists())
    )


def _config(run):
    """What `config.json` keeps of the run."""
    source = run.source
    return {
        **run.settings.as_dict(),
        "dataset": {
            "name": source.name,
            "fingerprint": source.fingerprint,
            "num_examples": source.pretrain.num_examples,
            "num_classes": source.num_classes,
        },
        "class_names": source.class_names,
        "weights": run.weights,
        "environment": run_files.environment(),
    }


def _digest(weights):
    """A text that is equal for the same weights in any order."""
    digests = sorted(features.digests(weights))
    return hashlib.sha256(b"".join(digests)).hexdigest()
