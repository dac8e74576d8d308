"""`train.py` within this process, and small runs to start from."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
import train
from simclr_keras import callbacks
from simclr_keras.flags import catalogue
from tests.evaluation import small

SIZE = 8


def run(*arguments):
    """What a user does who types these arguments."""
    reset_flags()
    try:
        train.main(["train.py", *map(str, arguments)])
    finally:
        reset_flags()


def reset_flags():
    """Gives all flags, which are global, their defaults."""
    for flag in catalogue.definitions().values():
        flag.unparse()


def run_into_a_full_disk(monkeypatch, step, *arguments):
    """`run`, which ends because the checkpoint of `step` cannot be written."""
    save = callbacks.SaveCheckpoint.save

    def full_disk(saver):
        if saver.done == step:
            raise OSError("the disk is full")
        save(saver)

    with monkeypatch.context() as patched:
        patched.setattr(callbacks.SaveCheckpoint, "save", full_disk)
        with pytest.raises(SystemExit) as exit_info:
            run(*arguments)
    del exit_info
    gc.collect()  # With the traceback goes the lock of the folder.


def assert_same_checkpoint(whole, resumed, step):
    """Weights, optimizer and metrics of two runs are the same bits."""
    first, second = (
        tf.train.load_checkpoint(
            str(folder / "checkpoints" / f"step_{step}" / "checkpoint")
        )
        for folder in (whole, resumed)
    )
    keys = first.get_variable_to_shape_map().keys()
    assert keys == second.get_variable_to_shape_map().keys()
    keys = [key for key in keys if "/" in key]
    assert len(keys) > 15
    for key in keys:
        np.testing.assert_array_equal(
            first.get_tensor(key), second.get_tensor(key), err_msg=key
        )


def refused(capsys, *arguments):
    """The line with which the arguments are refused."""
    with pytest.raises(SystemExit) as exit_info:
        run(*arguments)
    assert exit_info.value.code == 2
    line, hint = capsys.readouterr().err.splitlines()
    assert hint == "Try --help for all flags."
    return line.partition(": ")[2]


def write_run(folder):
    """What a pretraining leaves behind, of an encoder that is quick."""
    keras.utils.set_random_seed(5)
    encoder = small.encoder(SIZE, features=16)
    head = simclr_keras.projection_head(16, layers=2, out_dim=4, seed=5)
    simclr_keras.save_encoder(encoder, folder / "encoder.keras")
    simclr_keras.save_encoder(head, folder / "projection_head.keras")
    return encoder, head
