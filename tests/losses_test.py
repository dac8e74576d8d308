"""NT-Xent against Google's numbers, the paper's algorithm and its limits."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import losses
from simclr_keras.losses import nt_xent
from tests import golden
from tests import oracles
from tests import replicas

NTXENT = golden.npz("ntxent.npz")
CASES = range(int(NTXENT["num_cases"]))


class Case:
    def __init__(self, index):
        for key, value in NTXENT.items():
            if key.startswith(f"c{index}_"):
                setattr(self, key.removeprefix(f"c{index}_"), value)
        self.views = np.split(self.hidden, 2)
        self.arguments = {
            "temperature": float(self.temperature),
            "hidden_norm": bool(self.hidden_norm),
        }


@pytest.fixture(params=CASES)
def case(request):
    return Case(request.param)


class TestGoogle:
    def test_loss_is_half_of_google_s(self, case):
        loss = nt_xent(*case.views, **case.arguments)
        np.testing.assert_allclose(2 * loss, case.loss, rtol=1e-5, atol=1e-6)

    def test_gradient(self, case):
        z = tf.constant(case.hidden)
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = 2 * nt_xent(*tf.split(z, 2), **case.arguments)
        gradient = tape.gradient(loss, z).numpy()
        if str(case.kind) == "zero_rows":
            scale = np.abs(case.grad).max(axis=1, keepdims=True)
            assert np.max(np.abs(gradient - case.grad) / scale) < 1e-4
        elif np.any(case.grad):
            assert golden.relative_to_max(gradient, case.grad) < 1e-5
        else:
            assert not np.any(gradient)

    def test_logits_accuracy_and_entropy(self, case):
        logits = losses.view_logits(*case.views, **case.arguments)
        assert golden.relative_to_max(logits["12"], case.logits_ab) < 1e-5
        np.testing.assert_allclose(
            losses.contrastive_accuracy(logits), case.contrast_acc, atol=1e-7
        )
        np.testing.assert_allclose(
            losses.contrastive_entropy(logits), case.contrast_entropy, atol=1e-5
        )


class TestPaper:
    @pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
    @pytest.mark.parametrize("hidden_norm", [True, False])
    def test_equals_algorithm_1(self, temperature, hidden_norm):
        z1, z2 = np.random.default_rng(0).normal(size=(2, 7, 5))
        np.testing.assert_allclose(
            nt_xent(z1, z2, temperature, hidden_norm),
            oracles.nt_xent(z1, z2, temperature, hidden_norm),
            rtol=1e-5,
        )

    def test_symmetric_in_the_views(self):
        z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 4))
        np.testing.assert_allclose(nt_xent(z1, z2), nt_xent(z2, z1), rtol=1e-6)

    @pytest.mark.parametrize("num_images", [2, 16, 512])
    def test_equal_projections_give_chance_level(self, num_images):
        z = np.ones([num_images, 3], np.float32)
        np.testing.assert_allclose(
            nt_xent(z, z), np.log(2 * num_images - 1), rtol=1e-6
        )

    def test_scale_of_projections_does_not_matter(self):
        z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 4))
        np.testing.assert_allclose(
            nt_xent(z1, z2), nt_xent(3 * z1, 0.2 * z2), rtol=1e-5
        )


class TestNumerics:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_low_precision_input_is_computed_in_float32(self, dtype):
        z = np.random.default_rng(0).normal(size=(2, 16, 8))
        z1, z2 = tf.cast(z, dtype)
        loss = nt_xent(z1, z2, 0.05)
        wide = nt_xent(tf.cast(z1, "float32"), tf.cast(z2, "float32"), 0.05)
        assert loss.dtype == tf.float32
        np.testing.assert_allclose(loss, wide, rtol=1e-6)

    def test_finite_for_zero_and_huge_projections(self):
        z = tf.constant(np.eye(4, 8) * 1e18, tf.float32)
        z = tf.tensor_scatter_nd_update(z, [[1]], tf.zeros([1, 8]))
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = nt_xent(z, z, 0.01)
        assert np.isfinite(loss)
        assert np.all(np.isfinite(tape.gradient(loss, z)))

    def test_compiles_with_xla(self):
        z = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 4)))
        compiled = tf.function(nt_xent, jit_compile=True)
        np.testing.assert_allclose(compiled(*z), nt_xent(*z), rtol=1e-6)


class TestReplicas:
    def test_mean_over_replicas_is_the_loss_of_the_global_batch(self):
        z1, z2 = np.random.default_rng(0).normal(size=(2, 8, 4))
        z1, z2 = z1.astype(np.float32), z2.astype(np.float32)
        strategy = replicas.mirrored()

        @tf.function
        def step(values):
            z = tf.stack(values)
            with tf.GradientTape() as tape:
                tape.watch(z)
                loss = nt_xent(z[0], z[1]) / strategy.num_replicas_in_sync
            return loss, tape.gradient(loss, z)

        values = strategy.experimental_distribute_values_from_function(
            lambda context: tuple(
                tf.split(z, 2)[context.replica_id_in_sync_group]
                for z in (z1, z2)
            )
        )
        loss, gradient = strategy.run(step, args=(values,))
        loss = strategy.experimental_local_results(loss)
        gradient = strategy.experimental_local_results(gradient)
        both = tf.stack([z1, z2])
        with tf.GradientTape() as tape:
            tape.watch(both)
            expected = nt_xent(both[0], both[1])
        np.testing.assert_allclose(sum(loss), expected, rtol=1e-6)
        expected = tape.gradient(expected, both)
        assert golden.relative_to_max(tf.concat(gradient, 1), expected) < 1e-6


class TestErrors:
    def test_temperature(self):
        with pytest.raises(ValueError, match="`temperature` must be greater"):
            nt_xent(np.ones([2, 3]), np.ones([2, 3]), temperature=0)

    @pytest.mark.parametrize("shape", [(2, 4), (3, 3), (3,), (2, 3, 1)])
    def test_shapes(self, shape):
        with pytest.raises(ValueError, match="Received: shapes"):
            nt_xent(np.ones([2, 3]), np.ones(shape))
