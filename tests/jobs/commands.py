"""`train.py` within this process, and small runs to start from."""

import keras
import pytest

import simclr_keras
import train
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
