"""Shared by all tests: CPU only, two logical devices, quiet TensorFlow.

The whole suite runs in two processes, each file in one of them. Tests that
are named run in this one, and slow ones too: they start their own.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# As train.py does; CPUs without AVX-512 are three times slower otherwise.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import pytest
import tensorflow as tf

_IS_ONE_OF_TWO = "PYTEST_XDIST_WORKER" in os.environ

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
tf.config.experimental.enable_tensor_float_32_execution(False)
if _IS_ONE_OF_TWO:
    tf.config.threading.set_intra_op_parallelism_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Sets pytest-xdist's options where they save time; `-n 0` declines."""
    option = config.option
    if (
        config.pluginmanager.hasplugin("xdist")
        and not _IS_ONE_OF_TWO
        and option.numprocesses is None
        and not option.usepdb
        and option.markexpr == "not slow"
        and config.args == config.getini("testpaths")
    ):
        option.numprocesses, option.dist = 2, "loadfile"


@pytest.fixture(scope="session", autouse=True)
def _scans_are_kept_elsewhere(tmp_path_factory):
    os.environ["SIMCLR_KERAS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _seed_and_policy():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
