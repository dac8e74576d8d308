"""Training that shows where it is, saves, and goes on where it stopped."""

import simclr_keras
from simclr_keras import data
from simclr_keras import flags
from simclr_keras.flags import augmentation as augmentation_flags
from simclr_keras.flags import optimization as optimization_flags
from simclr_keras.flags import run as run_flags
from simclr_keras.jobs import devices
from simclr_keras.jobs import stopping


class Fitting:
    """Trains a model until its last step, from the last checkpoint on if any.

    Args:
        model: compiled; gets the state of the checkpoint.
        run: `claiming.Run`.
        steps: `schedules.Plan`.

    Attributes:
        first_step: int, updates done before.
        clock: `data.pipelines.WaitClock` that the batches are timed with, or
            None.
    """

    def __init__(self, model, run, steps):
        self.model, self.run, self.steps = model, run, steps
        self._checkpoints = simclr_keras.training_state.Checkpoints(
            run.model_dir / "checkpoints",
            run_flags.keep_checkpoint_max(),
            read_only=not devices.is_chief(),
            **simclr_keras.training_state.state(model),
        )
        self.first_step = self._checkpoints.restore()
        self._refuse_unlike_workers()
        if self.first_step:
            print(f"resuming at step {self.first_step} of {steps.num_steps}")
        # Under a strategy, which prefetches by itself, nobody sees the waiting.
        self.clock = None
        if run.strategy is None:
            self.clock = data.pipelines.WaitClock()

    @property
    def is_done(self):
        """Whether the last step was taken before."""
        return self.first_step >= self.steps.num_steps

    def explained(self):
        """Context in which what stops the training is said."""
        return stopping.explained(self._checkpoints)

    def fit(self, split, batches, watchers=(), monitors=(), chance=None):
        """Takes the steps that are left.

        Args:
            split: `data.Split` that the batches come from.
            batches: (first step, number of steps, replicas) -> dataset of
                these batches, as `data.pipelines.pretraining` gives it.
            watchers: callbacks of the chief, beside those of every run.
            monitors: the same, that add to the logs of the others.
            chance: as for `callbacks.ProgressBar`.
        """
        distribution, strategy = simclr_keras.distribution, self.run.strategy
        saver = simclr_keras.callbacks.SaveCheckpoint(
            self._checkpoints,
            self.first_step,
            run_flags.checkpoint_period(self.steps.steps_per_epoch),
        )
        self.model.worker_flag = distribution.worker_flag(strategy)
        signals = simclr_keras.callbacks.StopAtSignal(
            saver, self.model.worker_flag
        )
        with (
            signals,
            data.pipelines.damaged_files_named(split),
            distribution.lost_workers_named(strategy),
        ):
            simclr_keras.training.fit(
                self.model,
                lambda *part: self._timed_per_replica(batches, *part),
                self.first_step,
                self.steps.num_steps,
                self.steps.steps_per_epoch,
                [*self._shown(watchers, monitors, chance), saver, signals],
            )
        saver.save()
        skipped = simclr_keras.callbacks.skipped_steps(self.model, saver.done)
        if skipped.get("skipped_steps"):
            print(
                f"{skipped['skipped_steps']} steps overflowed in float16 and "
                "were skipped"
            )

    def _shown(self, watchers, monitors, chance):
        """The callbacks that look, in their order."""
        callbacks, steps = simclr_keras.callbacks, self.steps
        stop = callbacks.StopAtNonFiniteLoss(self.first_step)
        if not devices.is_chief():
            return [stop]
        return [
            *monitors,
            callbacks.ProgressBar(
                steps.num_steps,
                self.first_step,
                steps.batch_size,
                self.clock,
                chance=chance,
            ),
            callbacks.MetricsLog(
                self.run.model_dir,
                self.first_step,
                run_flags.summary_period(),
                steps.batch_size,
                self.clock,
            ),
            *watchers,
            stop,
        ]

    def _timed_per_replica(self, batches, step, num_steps):
        dataset = simclr_keras.distribution.per_replica(
            self.run.strategy,
            lambda *replicas: batches(step, num_steps, replicas),
        )
        if self.clock is None:
            return dataset
        return data.pipelines.timed(dataset, self.clock)

    def _refuse_unlike_workers(self):
        digest = (self.run.digest() + self.first_step) % 2**31
        if not simclr_keras.distribution.equal_on_all_workers(
            self.run.strategy, digest
        ):
            flags.refuse(
                f"flag --model_dir={self.run.model_dir}: workers differ in "
                "their flags, their images, or the checkpoint they found "
                "there; all need the same command, and --model_dir on storage "
                "that they share"
            )


def fit_once(model, batches, steps, chance):
    """Trains from the first step to the last, of which nothing is kept."""
    callbacks = simclr_keras.callbacks
    bar = callbacks.ProgressBar(
        steps.num_steps, 0, steps.batch_size, chance=chance
    )
    simclr_keras.training.fit(
        model,
        batches,
        0,
        steps.num_steps,
        steps.steps_per_epoch,
        [bar, callbacks.StopAtNonFiniteLoss(0)],
    )
    bar.close()


def plan(split):
    """The batch and the numbers of steps of a run on `split`."""
    return simclr_keras.schedules.plan(
        split.num_examples, **optimization_flags.plan()
    )


def batches(split, step, num_steps, replicas=(1, 0, 1), **views):
    """`num_steps` batches of a split, from that of `step` on.

    Args:
        split, replicas, **views: as for `data.pipelines.pretraining`.
        step, num_steps: ints.
    """
    return data.pipelines.pretraining(
        split,
        first_step=step,
        num_steps=num_steps,
        replicas=replicas,
        **augmentation_flags.pipeline(),
        **views,
    )


def optimizer(steps):
    """The optimizer with its schedule for a `schedules.Plan`."""
    schedule = simclr_keras.WarmupCosine(
        simclr_keras.schedules.scaled_learning_rate(
            **optimization_flags.scaled_learning_rate()
        ),
        steps.warmup_steps,
        steps.num_steps,
    )
    return simclr_keras.optimizers.optimizer(
        learning_rate=schedule, **optimization_flags.optimizer()
    )
