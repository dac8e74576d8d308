"""Calls of `fit` that continue where a run stopped, at any step."""


def fit(model, batches, first_step, last_step, steps_per_epoch, callbacks):
    """Trains from one step to another, in epochs that keep their place.

    Args:
        model: compiled `keras.Model`.
        batches: (first step, number of steps) -> dataset of these batches.
        first_step: updates done before.
        last_step: updates after which to stop.
        steps_per_epoch: updates in a whole epoch.
        callbacks: Keras callbacks; they see several calls of `fit`.
    """
    for step, epoch, end, steps in calls(
        first_step, last_step, steps_per_epoch
    ):
        model.fit(
            batches(step, steps * (end - epoch)),
            initial_epoch=epoch,
            epochs=end,
            steps_per_epoch=steps,
            callbacks=callbacks,
            shuffle=False,
            verbose=0,
        )


def calls(first_step, last_step, steps_per_epoch):
    """Splits training into calls of `fit`, whose epochs are equally long.

    A run that was interrupted starts inside an epoch, and Google's step count
    ends inside one.

    Returns:
        List of (first step, its epoch, the epoch to stop before, steps in
        each of these epochs), at most three.
    """
    found = []
    while first_step < last_step:
        epoch, offset = divmod(first_step, steps_per_epoch)
        whole = (last_step - first_step) // steps_per_epoch
        if offset or not whole:
            steps = min(steps_per_epoch - offset, last_step - first_step)
            epochs = 1
        else:
            steps, epochs = steps_per_epoch, whole
        found.append((first_step, epoch, epoch + epochs, steps))
        first_step += steps * epochs
    return found
