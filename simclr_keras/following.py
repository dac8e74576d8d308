"""A run as another process sees it that evaluates while the run trains.

Nothing here writes what the run writes, takes its lock or deletes anything.
"""

import json
import os
import pathlib
import time

import tensorflow as tf

from simclr_keras import training_state

EVALUATIONS = "evaluations.jsonl"

_POLL_SECONDS = 5.0
# What grows or changes while a run trains.
_SIGNS = ("config.json", "metrics.jsonl", "checkpoints")


class NoSignOfTraining(RuntimeError):
    """A run that has not ended has not shown a sign of life for too long."""


def checkpoints(
    model_dir, *, patience, known=(), say=print, sleep=None, clock=None
):
    """Yields the checkpoints of a run while it trains, oldest first.

    Ends when training has ended; its last checkpoint, whose weights are those
    of `encoder.keras`, is left out then. Of a run that has ended before, there
    are none. One that is damaged, or removed before it was read, is named and
    skipped.

    Args:
        model_dir: folder of the run.
        patience: float, seconds without a new checkpoint or line of metrics
            after which to give up.
        known: steps that are not to be yielded.
        say: function of a text.
        sleep, clock: as in `time`; for tests.

    Yields:
        (step, weights): int, and a dict from paths of variables to arrays.

    Raises:
        NoSignOfTraining: after `patience`.
    """
    saved = training_state.Checkpoints(
        pathlib.Path(model_dir) / "checkpoints", read_only=True
    )
    seen, waiting = set(known), _Waiting(model_dir, patience, clock)
    if has_ended(model_dir):
        return
    while True:
        # Asked before looking: the last checkpoint comes before the end.
        ended = has_ended(model_dir)
        steps = saved.steps()
        fresh = [step for step in steps if step not in seen]
        if ended:
            fresh = [step for step in fresh if step != steps[-1]]
        for step in fresh:
            seen.add(step)
            weights = _weights(saved.path(step), step, say)
            if weights is not None:
                yield step, weights
        if ended:
            return
        if not fresh:
            waiting.check()
            waiting.say_once(steps, say)
            (sleep or time.sleep)(_POLL_SECONDS)


def has_ended(model_dir):
    """Whether training is over, be it that its results are still to come."""
    return (pathlib.Path(model_dir) / "encoder.keras").is_file()


def give_weights(encoder, weights):
    """Gives an encoder the weights of a checkpoint.

    Args:
        encoder: `keras.Model`.
        weights: dict from paths of variables to arrays.

    Raises:
        ValueError: if one is not there or has another shape.
    """
    for variable in encoder.weights:
        found = weights.get(variable.path)
        if found is None or found.shape != tuple(variable.shape):
            there = "none" if found is None else f"shape {list(found.shape)}"
            raise ValueError(
                "`weights` must be those of such an encoder, with "
                f"{variable.path} of shape {list(variable.shape)}. "
                f"Received: {there}"
            )
    for variable in encoder.weights:
        variable.assign(weights[variable.path])


def evaluations(model_dir):
    """The lines of `evaluations.jsonl`: list of dicts with `step`."""
    path = pathlib.Path(model_dir) / EVALUATIONS
    found = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                # Half a line: who wrote it was killed.
                continue
            if isinstance(value, dict) and "step" in value:
                found.append(value)
    return found


def append(model_dir, line):
    """Adds a dict to `evaluations.jsonl`."""
    path = pathlib.Path(model_dir) / EVALUATIONS
    text = json.dumps(line) + "\n"
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        text = "\n" + text
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _weights(folder, step, say):
    """Those of one checkpoint; None if they are not to be had."""
    try:
        return training_state.read_weights(folder)
    except (ValueError, OSError, tf.errors.OpError) as error:
        if folder.exists():
            say(f"checkpoint of step {step} is skipped: {error}")
        else:
            say(f"checkpoint of step {step} was removed before it was read")
        return None


class _Waiting:
    """How long there has been no sign of the run."""

    def __init__(self, model_dir, patience, clock):
        self.model_dir = pathlib.Path(model_dir)
        self.patience = patience
        self.clock = clock or time.monotonic
        self._signs = self._since = self._said = None

    def check(self):
        # Not by the age of files: clocks of two machines differ.
        signs = [self._sign(name) for name in _SIGNS]
        if signs != self._signs:
            self._signs, self._since = signs, self.clock()
        elif self.clock() - self._since > self.patience:
            raise NoSignOfTraining(
                f"no sign of the training for {self.patience / 60:g} minutes: "
                "no new checkpoint or line of metrics.jsonl in "
                f"{self.model_dir}"
            )

    def say_once(self, steps, say):
        """Says what is waited for, once for each checkpoint."""
        newest = max(steps, default=None)
        after = "the first one" if newest is None else f"one after {newest:,}"
        if self._said != after:
            self._said = after
            say(
                f"waiting for a checkpoint, {after}, or the end of training; "
                f"at most {self.patience / 60:g} minutes without any sign"
            )

    def _sign(self, name):
        try:
            found = os.stat(self.model_dir / name)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
