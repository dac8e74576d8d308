"""What a run shows and writes, from a recorded training."""

import io
import json
import os
import signal

import keras
import pytest

from simclr_keras import callbacks

LOGS = {"loss": 4.2, "learning_rate": 0.1, "probe_top1": 0.5}


class Clock:
    seconds = 0.0


def play(callback, first_step, steps, epoch_steps=4, logs=LOGS):
    """Calls `callback` as `fit` does."""
    callback.on_train_begin()
    for step in range(first_step, first_step + steps):
        if step % epoch_steps == 0 or step == first_step:
            callback.on_epoch_begin(step // epoch_steps)
        callback.on_train_batch_begin(step % epoch_steps)
        callback.on_train_batch_end(step % epoch_steps, dict(logs))
        if (step + 1) % epoch_steps == 0:
            callback.on_epoch_end(step // epoch_steps, dict(logs))
    callback.on_train_end()


class Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProgressBar:
    def test_lines_without_a_terminal(self):
        stream = io.StringIO()
        bar = callbacks.ProgressBar(8, 0, 256, Clock(), stream)
        play(bar, 0, 8)
        first, *_, last = stream.getvalue().splitlines()
        assert first.startswith("step 1/8: ")
        assert last.startswith("step 8/8: ")
        assert "loss 4.200 (chance 6.24), probe 50.0%" in last
        assert "images/s" in last and "data wait 0%" in last
        assert len(stream.getvalue().splitlines()) == 2

    def test_bar_on_a_terminal(self):
        stream = Terminal()
        bar = callbacks.ProgressBar(8, 4, 256, Clock(), stream)
        play(bar, 4, 4)
        bar.close()
        assert "8/8" in stream.getvalue()
        assert "loss 4.200" in stream.getvalue()

    def test_without_probe(self):
        stream = io.StringIO()
        bar = callbacks.ProgressBar(1, 0, 256, Clock(), stream)
        play(bar, 0, 1, logs={"loss": 1.0})
        assert "probe" not in stream.getvalue()


class TestThroughput:
    def test_rate_and_share_of_waiting(self, monkeypatch):
        now = [10.0]
        monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
        clock = Clock()
        rate = callbacks.Throughput(batch_size=32, wait_clock=clock)
        for _ in range(4):
            rate.step()
        now[0], clock.seconds = 12.0, 0.5
        assert rate.values() == {"images_per_second": 64.0, "data_wait": 0.25}
        rate.start()
        assert rate.values()["images_per_second"] == 0


class TestMetricsLog:
    def lines(self, folder):
        text = (folder / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def test_every_period_and_every_epoch(self, tmp_path):
        play(callbacks.MetricsLog(tmp_path, 0, 3, 32, Clock()), 0, 8)
        steps = [(line["step"], line["epoch"]) for line in self.lines(tmp_path)]
        assert steps == [(3, 0), (4, 0), (6, 1), (8, 1)]
        assert self.lines(tmp_path)[0]["loss"] == 4.2
        assert "images_per_second" in self.lines(tmp_path)[0]
        assert list((tmp_path / "tensorboard").iterdir())

    def test_a_resumed_run_drops_what_it_does_again(self, tmp_path):
        play(callbacks.MetricsLog(tmp_path, 0, 0, 32, Clock()), 0, 12)
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 1')
        play(callbacks.MetricsLog(tmp_path, 6, 0, 32, Clock()), 6, 6)
        assert [line["step"] for line in self.lines(tmp_path)] == [4, 8, 12]


class TestSaveCheckpoint:
    class Saved(list):
        save = list.append

    def saver(self, *args):
        saver = callbacks.SaveCheckpoint(self.Saved(), *args)
        saver.set_model(
            keras.Sequential([keras.Input([1]), keras.layers.Dense(2)])
        )
        return saver

    def test_every_period_and_the_last_step_once(self):
        saver = self.saver(5, 3)
        play(saver, 5, 6)
        saver.save()
        saver.save()
        assert saver.checkpoints == [6, 9, 11]

    def test_never_saves_what_cannot_go_on(self):
        saver = self.saver(5, 3)
        saver.model.weights[0].assign([[1.0, float("nan")]])
        with pytest.raises(callbacks.NonFiniteLoss, match="after step 6"):
            play(saver, 5, 6)
        assert not saver.checkpoints


class TestStopAtSignal:
    class Saver:
        saves = 0

        def save(self):
            self.saves += 1

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_the_step_saves_and_stops(self, number):
        before = signal.getsignal(number)
        with callbacks.StopAtSignal(self.Saver()) as stop:
            play(stop, 0, 1)
            os.kill(os.getpid(), number)
            assert stop.saver.saves == 0
            with pytest.raises(callbacks.Interrupted) as raised:
                play(stop, 1, 1)
        assert raised.value.number == number
        assert str(raised.value) == number.name
        assert stop.saver.saves == 1
        assert signal.getsignal(number) is before

    def test_stops_when_any_worker_was_asked_to(self):
        class Flag:
            times_set = 0

            def set(self):
                self.times_set += 1

        asked, other = (
            callbacks.StopAtSignal(self.Saver(), Flag()) for _ in range(2)
        )
        with asked:
            os.kill(os.getpid(), signal.SIGINT)
        for stop in (asked, other):
            stop.on_train_batch_begin(0)
            # Set during the step, the flag counts in the next one.
            stop.on_train_batch_end(0, {"interrupted": 0.0})
            stop.on_train_batch_begin(1)
            with pytest.raises(callbacks.Interrupted) as raised:
                stop.on_train_batch_end(1, {"interrupted": 1.0})
            assert stop.saver.saves == 1
            received = signal.SIGINT if stop is asked else signal.SIGTERM
            assert raised.value.number == received
        assert asked.worker_flag.times_set == 2
        assert other.worker_flag.times_set == 0

    def test_a_second_ctrl_c_does_not_wait(self):
        with callbacks.StopAtSignal(self.Saver()) as stop:
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
        assert stop.saver.saves == 0


def test_stops_at_a_loss_that_is_not_finite():
    stop = callbacks.StopAtNonFiniteLoss(first_step=6)
    with pytest.raises(callbacks.NonFiniteLoss, match="nan at step 7, with"):
        play(stop, 6, 1, logs=LOGS | {"loss": float("nan")})


class TestSkippedSteps:
    def model(self):
        model = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
        model.compile(
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
        )
        model.optimizer.build(model.trainable_variables)
        return model

    def test_are_those_without_an_update(self):
        model = self.model()
        model.optimizer.iterations.assign(5)
        assert callbacks.skipped_steps(model, 7) == {"skipped_steps": 2}
        model.compile("sgd")
        assert callbacks.skipped_steps(model, 7) == {}

    def test_only_many_in_a_row_end_the_run(self):
        stop = callbacks.StopAtNonFiniteLoss(first_step=0)
        stop.set_model(self.model())
        stop.on_train_begin()
        play(stop, 0, stop.MAX_SKIPPED - 1)
        stop.model.optimizer.iterations.assign_add(1)
        stop.on_train_batch_end(0, LOGS)
        play(stop, 0, stop.MAX_SKIPPED - 1)
        with pytest.raises(callbacks.NonFiniteLoss, match="20 steps in a row"):
            play(stop, 0, 1)
