"""Projection head and linear probe against Google's numbers."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.heads import MODES
from simclr_keras.heads import head_outputs
from simclr_keras.heads import linear_probe
from simclr_keras.heads import projection_head
from simclr_keras.normalization import plain_batch_norm
from tests import golden

HEADS = golden.npz("heads.npz")
INPUTS = HEADS["inputs"]
LAYERS = sorted(
    int(match[1])
    for key in HEADS
    if (match := re.fullmatch(r"nl(\d+)_var_names", key))
)
TOLERANCE = 2e-5

_GOOGLE = re.compile(r"projection_head/n?l_(\d+)/(.+)/(\w+)")


def reference_head(prefix, layers, mode):
    """Our head with the weights of the golden rule, by reference name."""
    head = projection_head(
        INPUTS.shape[-1], layers, int(HEADS[f"{prefix}_out_dim"]), mode
    )
    ours = {v.path: v for v in head.variables}
    by_name = {}
    for name, shape, trainable in zip(
        HEADS[f"{prefix}_var_names"],
        golden.text(HEADS[f"{prefix}_var_shapes"]),
        HEADS[f"{prefix}_var_trainable"],
        strict=True,
    ):
        index, layer, variable = _GOOGLE.fullmatch(str(name)).groups()
        part = "bn" if "batch_norm" in layer else "dense"
        own = ours.pop(f"projection{int(index) + 1}_{part}/{variable}")
        assert (list(own.shape), own.trainable) == (shape, trainable)
        own.assign(golden.weight(str(name), own.shape))
        by_name[str(name)] = own
    assert not ours
    return head, by_name


def assert_close(ours, key):
    np.testing.assert_allclose(ours, HEADS[key], atol=TOLERANCE, err_msg=key)


class TestGoogle:
    @pytest.mark.parametrize("layers", LAYERS)
    def test_nonlinear(self, layers):
        prefix = f"nl{layers}"
        head, variables = reference_head(prefix, layers, "nonlinear")
        outputs = head_outputs(head)
        for mode, training in (("eval", False), ("train", True)):
            values = outputs(INPUTS, training=training)
            assert len(values) == layers + 1
            for k, value in enumerate(values):
                assert_close(value, f"{prefix}_{mode}_ft{k}")
            assert_close(values[-1], f"{prefix}_{mode}_out")
        start = f"{prefix}_train_moving_"
        moving = [key for key in HEADS if key.startswith(start)]
        assert len(moving) == 2 * layers
        for key in moving:
            name = key.removeprefix(start).replace("__", "/")
            assert_close(variables[name], key)

    def test_linear(self):
        head, variables = reference_head("linear", 3, "linear")
        assert_close(head(INPUTS, training=False), "linear_eval_out")
        assert_close(head(INPUTS, training=True), "linear_train_out")
        for name in ("moving_mean", "moving_variance"):
            (own,) = [v for k, v in variables.items() if k.endswith(name)]
            assert_close(own, f"linear_train_{name}")

    @pytest.mark.parametrize("prefix", [f"nl{i}" for i in LAYERS] + ["linear"])
    def test_linear_probe(self, prefix):
        probe = linear_probe(INPUTS.shape[-1], int(HEADS["num_classes"]))
        for variable, name in zip(
            probe.variables, HEADS[f"sup_var_names_{prefix}"], strict=True
        ):
            assert variable.path.split("/")[-1] == name.split("/")[-1]
            variable.assign(golden.weight(str(name), variable.shape))
        assert_close(probe(INPUTS), f"sup_logits_{prefix}")


class TestProjectionHead:
    def test_none_is_the_embedding_itself(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        head = projection_head(INPUTS.shape[-1], mode="none")
        assert not head.variables
        np.testing.assert_array_equal(head(INPUTS, training=True), INPUTS)

    @pytest.mark.parametrize("mode", MODES)
    def test_outputs_start_with_h_and_end_with_z(self, mode):
        head = projection_head(INPUTS.shape[-1], 2, 5, mode)
        outputs = head_outputs(head)(INPUTS)
        assert len(outputs) == (3 if mode == "nonlinear" else 2)
        np.testing.assert_array_equal(outputs[0], INPUTS)
        np.testing.assert_array_equal(outputs[-1], head(INPUTS))

    def test_outputs_of_a_copy(self):
        head = projection_head(INPUTS.shape[-1], 2, 5)
        copy = head_outputs(plain_batch_norm(head))
        for a, b in zip(copy(INPUTS), head_outputs(head)(INPUTS), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_projection_is_float32_in_mixed_precision(self, policy):
        keras.config.set_dtype_policy(policy)
        head = projection_head(INPUTS.shape[-1], 2, 5)
        h, hidden, z = head_outputs(head)(INPUTS, training=True)
        assert h.dtype == z.dtype == tf.float32
        assert hidden.dtype == policy.removeprefix("mixed_")

    def test_initial_values(self):
        head = projection_head(256, 2, 128, seed=1)
        for variable in head.variables:
            values = variable.numpy()
            if variable.name == "kernel":
                noise = 6 / np.sqrt(values.size)
                assert abs(values.std() / 0.01 - 1) < noise / np.sqrt(2)
                assert abs(values.mean()) < 0.01 * noise
                # Normal, not truncated at two standard deviations.
                assert np.abs(values).max() > 0.03
            else:
                ones = variable.name in ("gamma", "moving_variance")
                assert np.all(values == float(ones))

    def test_seed_fixes_the_initial_weights(self):
        for build in (projection_head, linear_probe):
            first = build(8, 2, seed=1).get_weights()[0]
            keras.utils.set_random_seed(1)
            np.testing.assert_array_equal(
                first, build(8, 2, seed=1).get_weights()[0]
            )
            assert np.any(first != build(8, 2, seed=2).get_weights()[0])

    @pytest.mark.parametrize(
        "arguments,message",
        [
            ({"features": 0}, "`features` must be at least 1. Received: feat"),
            ({"layers": 0}, "`layers` must be at least 1. Received: layers=0"),
            ({"out_dim": 0}, "`out_dim` must be at least 1. Received: out_"),
            ({"mode": "mlp"}, f"`mode` must be one of {MODES}. Received: mode"),
        ],
    )
    def test_errors_name_the_argument(self, arguments, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            projection_head(**{"features": 4} | arguments)


class TestLinearProbe:
    def test_is_float32_under_every_policy(self):
        keras.config.set_dtype_policy("mixed_bfloat16")
        probe = linear_probe(4, 3)
        assert probe.name == "linear_probe"
        assert [v.path for v in probe.variables] == [
            "linear_probe/kernel",
            "linear_probe/bias",
        ]
        assert probe(tf.ones([2, 4], tf.bfloat16)).dtype == tf.float32

    def test_refuses_no_classes(self):
        message = "`num_classes` must be at least 1. Received: num_classes=0"
        with pytest.raises(ValueError, match=message):
            linear_probe(4, 0)
