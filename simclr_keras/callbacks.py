"""What a run shows and writes while it trains."""

import json
import math
import os
import pathlib
import signal
import sys
import time

import keras
import tensorflow as tf
import tqdm

_LINE_SECONDS = 10.0
# What `monitors` add to the logs of some steps.
_MEASURED = frozenset({"knn_top1", "projection_alignment"})


class Throughput:
    """Images per second and the share of time spent waiting for data.

    Args:
        batch_size: images per step over all replicas.
        wait_clock: object whose `seconds` grows while a step waits for its
            batch, from `data.pipelines.timed`; None if nothing measures it.
    """

    def __init__(self, batch_size, wait_clock=None):
        self.batch_size = batch_size
        self.wait_clock = wait_clock
        self.start()

    def start(self):
        self._began = time.perf_counter()
        self._waited = self._wait_seconds()
        self._steps = 0

    def step(self):
        self._steps += 1

    def values(self):
        elapsed = max(time.perf_counter() - self._began, 1e-9)
        values = {"images_per_second": self._steps * self.batch_size / elapsed}
        if self.wait_clock is not None:
            waited = self._wait_seconds() - self._waited
            values["data_wait"] = min(waited / elapsed, 1.0)
        return values

    def _wait_seconds(self):
        return self.wait_clock.seconds if self.wait_clock else 0.0


class ProgressBar(keras.callbacks.Callback):
    """One bar over the whole run, or a line now and then without a terminal.

    Args:
        total_steps: updates of the whole run.
        first_step: updates done before, when a run is resumed.
        batch_size: images per step over all replicas.
        wait_clock: as for `Throughput`.
        stream: where to write; standard output by default.
        chance: loss of a model that knows nothing, which the loss is shown
            against; None for NT-Xent's, ln(2 * batch_size - 1).
    """

    def __init__(
        self,
        total_steps,
        first_step,
        batch_size,
        wait_clock=None,
        stream=None,
        chance=None,
    ):
        super().__init__()
        self.total_steps = total_steps
        self.first_step = first_step
        self.stream = stream or sys.stdout
        self.chance = chance or math.log(2 * batch_size - 1)
        self.rate = Throughput(batch_size, wait_clock)
        self.bar = None
        self.done = first_step
        self.knn_top1 = None
        self._printed = 0.0

    def on_train_begin(self, logs=None):
        if self.bar is None:
            self.bar = tqdm.tqdm(
                total=self.total_steps,
                initial=self.first_step,
                file=self.stream,
                disable=not self.stream.isatty(),
                unit="step",
                dynamic_ncols=True,
                bar_format="{n}/{total} |{bar}| {postfix}, {remaining} left",
            )

    def on_train_batch_end(self, batch, logs=None):
        if self.done == self.first_step:
            # The first step traces the graph; it says nothing about speed.
            self.rate.start()
        else:
            self.rate.step()
        self.done += 1
        # Measured now and then, and shown until the next time.
        self.knn_top1 = logs.get("knn_top1", self.knn_top1)
        self.bar.update()
        if self.bar.disable:
            self._line(logs)
        else:
            self.bar.set_postfix_str(self.text(logs), refresh=False)

    def text(self, logs):
        rate = self.rate.values()
        parts = [f"{rate['images_per_second']:.0f} images/s"]
        if "data_wait" in rate:
            parts.append(f"data wait {rate['data_wait']:.0%}")
        parts.append(f"loss {logs['loss']:.3f} (chance {self.chance:.2f})")
        for name, title in (("probe_top1", "probe"), ("top1", "accuracy")):
            if name in logs:
                parts.append(f"{title} {logs[name]:.1%}")
        if self.knn_top1 is not None:
            parts.append(f"kNN {self.knn_top1:.1%}")
        return ", ".join(parts)

    def _line(self, logs):
        now = time.monotonic()
        if now - self._printed < _LINE_SECONDS and self.done < self.total_steps:
            return
        self._printed = now
        print(
            f"step {self.done}/{self.total_steps}: {self.text(logs)}, "
            f"{self._left()} left",
            file=self.stream,
            flush=True,
        )

    def _left(self):
        speed = self.rate.values()["images_per_second"] / self.rate.batch_size
        if not speed:
            return "?"
        return tqdm.tqdm.format_interval((self.total_steps - self.done) / speed)

    def close(self):
        if self.bar is not None:
            self.bar.close()


class MetricsLog(keras.callbacks.Callback):
    """Writes metrics to `metrics.jsonl` and to TensorBoard.

    A line of JSON has `step`, `epoch`, the model's metrics (means over the
    epoch so far), what was measured after that step, and the throughput since
    the line before. Lines of steps that a resumed run does again are dropped
    first.

    Args:
        model_dir: the run's directory.
        first_step: updates done before.
        every: steps between lines; the end of an epoch gets one as well, and
            a step after which something was measured.
        batch_size, wait_clock: as for `Throughput`.
    """

    def __init__(self, model_dir, first_step, every, batch_size, wait_clock):
        super().__init__()
        self.path = pathlib.Path(model_dir) / "metrics.jsonl"
        self.every = every
        self.done = self.written = first_step
        self.epoch = 0
        self.rate = Throughput(batch_size, wait_clock)
        self.board = tf.summary.create_file_writer(
            str(pathlib.Path(model_dir) / "tensorboard")
        )
        _drop_lines_after(self.path, first_step)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        self.rate.step()
        is_due = self.every and self.done % self.every == 0
        if is_due or not _MEASURED.isdisjoint(logs):
            self._write(logs)

    def on_epoch_end(self, epoch, logs=None):
        if self.written != self.done:
            self._write(logs)

    def _write(self, logs):
        values = {
            name: float(value)
            for name, value in logs.items()
            if name != "interrupted"
        }
        values |= self.rate.values() | skipped_steps(self.model, self.done)
        line = {"step": self.done, "epoch": self.epoch, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        with self.board.as_default(self.done):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        self.written = self.done
        self.rate.start()


class SaveCheckpoint(keras.callbacks.Callback):
    """Saves every `every` steps, and when training ends.

    Args:
        checkpoints: `checkpoints.Checkpoints`.
        first_step: updates done before.
        every: steps between checkpoints.
    """

    def __init__(self, checkpoints, first_step, every):
        super().__init__()
        self.checkpoints = checkpoints
        self.every = every
        self.done = self.saved = first_step

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        if self.done % self.every == 0:
            self.save()

    def save(self):
        if self.saved == self.done:
            return
        # The loss of a step is that of the weights before it.
        if not is_finite(self.model):
            raise NonFiniteLoss(
                f"weights are not finite after step {self.done}"
            )
        self.checkpoints.save(self.done)
        self.saved = self.done


class Interrupted(RuntimeError):
    """Training was asked to stop by a signal.

    Args:
        number: of the signal, such as `signal.SIGTERM`.
    """

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopAtSignal(keras.callbacks.Callback):
    """After SIGTERM or SIGINT, saves and raises `Interrupted`.

    In force as a context manager. The step under way is finished first; a
    second Ctrl-C does not wait for it. Must be the last callback, for the
    others to have seen that step.

    With several workers, a signal to any of them stops all after the same
    step: the model tells by `interrupted` in its logs.

    Args:
        saver: `SaveCheckpoint`.
        worker_flag: `distribution.WorkerFlag` that the model counts; None
            where there is one worker.
    """

    def __init__(self, saver, worker_flag=None):
        super().__init__()
        self.saver = saver
        self.worker_flag = worker_flag
        self._received = None
        self._handlers = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def on_train_batch_begin(self, batch, logs=None):
        if self.worker_flag is not None and self._received is not None:
            self.worker_flag.set()

    def on_train_batch_end(self, batch, logs=None):
        if self.worker_flag is None:
            stop = self._received is not None
        else:
            stop = logs["interrupted"] > 0
        if stop:
            self.saver.save()
            raise Interrupted(self._received or signal.SIGTERM)

    def _receive(self, number, frame):
        self._received = number
        signal.signal(signal.SIGINT, signal.default_int_handler)


def skipped_steps(model, done):
    """How many of the `done` steps the loss scaler of float16 has skipped.

    Returns:
        {"skipped_steps": int}; without a loss scaler, nothing.
    """
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return {}
    return {"skipped_steps": done - int(optimizer.iterations.numpy())}


class NonFiniteLoss(RuntimeError):
    """Training cannot go on: the loss is not a finite number."""


class StopAtNonFiniteLoss(keras.callbacks.Callback):
    """Raises `NonFiniteLoss` at the step where the loss stops being finite.

    In float16 the loss scaler skips a step that overflows and halves its
    scale, so that only `MAX_SKIPPED` skipped steps in a row are an end.

    Keras' own `TerminateOnNaN` says neither the step nor the learning rate.

    Args:
        first_step: updates done before.
    """

    # The scale starts at 2 ** 15; where 2 ** -5 is too much, it is not to
    # blame.
    MAX_SKIPPED = 20

    def __init__(self, first_step):
        super().__init__()
        self.done = first_step
        self._in_a_row = self._skipped = 0

    def on_train_begin(self, logs=None):
        self._skipped = self._count()

    def _count(self):
        return skipped_steps(self.model, self.done).get("skipped_steps", 0)

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        skipped = self._count()
        self._in_a_row = self._in_a_row + 1 if skipped > self._skipped else 0
        self._skipped = skipped
        if self._in_a_row == self.MAX_SKIPPED:
            raise NonFiniteLoss(
                f"gradients were not finite in {self._in_a_row} steps in a "
                f"row, up to step {self.done}"
            )
        if not math.isfinite(logs["loss"]):
            raise NonFiniteLoss(
                f"the loss is {logs['loss']} at step {self.done}, with "
                f"learning rate {float(logs['learning_rate']):.4g}"
            )


def is_finite(model):
    """Whether all weights are finite numbers."""
    return all(
        bool(tf.math.is_finite(tf.reduce_sum(weight.value)))
        for weight in model.weights
    )


def _drop_lines_after(path, step):
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            # Half a line: the run before was killed while it wrote.
            continue
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(kept))
    os.replace(temporary, path)
