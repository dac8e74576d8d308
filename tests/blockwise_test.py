"""NT-Xent by blocks equals the whole matrix, without ever holding it."""

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import losses
from tests import golden
from tests import oracles
from tests import replicas
from tests.losses_test import CASES
from tests.losses_test import Case

IMAGES, WIDTH = 11, 6


def projections(num_images=IMAGES, scale=1.0, dtype=tf.float32):
    rng = np.random.default_rng(0)
    z1 = rng.normal(size=(num_images, WIDTH))
    z2 = z1 + 0.3 * rng.normal(size=z1.shape)
    return tf.cast(scale * np.stack([z1, z2]), dtype)


def value_and_gradient(z, *arguments):
    """([loss, accuracy, entropy], dloss/dz)"""
    z = tf.convert_to_tensor(z)
    with tf.GradientTape() as tape:
        tape.watch(z)
        results = losses.contrastive(z[0], z[1], *arguments)
    return tf.stack(results), tape.gradient(results[0], z)


@pytest.fixture
def dense(monkeypatch):
    """`value_and_gradient` of the route with all logits at once."""

    def run(*arguments):
        monkeypatch.setattr(losses, "_DENSE_BYTES", 2**62)
        return value_and_gradient(*arguments)

    return run


def sizes_of_tensors(concrete):
    """Elements of every tensor of known shape in a graph and its loops."""
    graph = concrete.graph.as_graph_def(add_shapes=True)
    for function in graph.library.function:
        for node in function.node_def:
            for shape in node.attr["_output_shapes"].list.shape:
                sizes = [dimension.size for dimension in shape.dim]
                if not shape.unknown_rank and -1 not in sizes:
                    yield int(np.prod(sizes))


class TestValueAndGradient:
    @pytest.mark.parametrize("block_size", [1, 4, IMAGES, 1000])
    @pytest.mark.parametrize("hidden_norm", [True, False])
    def test_equal_float64(self, hidden_norm, block_size):
        z = projections()
        for temperature in (0.01, 0.1, 10.0):
            (loss, *_), gradient = value_and_gradient(
                z, temperature, hidden_norm, block_size
            )
            arguments = *z.numpy(), temperature, hidden_norm
            expected = oracles.nt_xent(*arguments)
            np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)
            expected = oracles.nt_xent_gradient(*arguments)
            assert golden.relative_to_max(gradient, expected) < 1e-5

    @pytest.mark.parametrize("index", CASES)
    def test_equal_google_s(self, index):
        case = Case(index)
        z = np.stack(case.views)
        (loss, accuracy, entropy), gradient = value_and_gradient(
            z, *case.arguments.values(), 3
        )
        np.testing.assert_allclose(2 * loss, case.loss, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(accuracy, case.contrast_acc, atol=1e-7)
        np.testing.assert_allclose(entropy, case.contrast_entropy, atol=1e-5)
        gradient = 2 * tf.reshape(gradient, case.grad.shape).numpy()
        if str(case.kind) == "zero_rows":
            scale = np.abs(case.grad).max(axis=1, keepdims=True)
            assert np.max(np.abs(gradient - case.grad) / scale) < 1e-4
        elif np.any(case.grad):
            assert golden.relative_to_max(gradient, case.grad) < 1e-5
        else:
            assert np.max(np.abs(gradient)) < 1e-6

    @pytest.mark.parametrize("num_images", [1, 2, 7])
    def test_equal_the_dense_route(self, dense, num_images):
        z = projections(num_images)
        results, gradient = value_and_gradient(z, 0.1, True, 2)
        expected, expected_gradient = dense(z, 0.1)
        np.testing.assert_allclose(results, expected, rtol=1e-5, atol=1e-6)
        error = np.max(np.abs(gradient - expected_gradient))
        assert error < 1e-5 * max(np.max(np.abs(expected_gradient)), 0.1)

    def test_unequal_weights_of_the_views(self):
        # d_i that differ; the numbers of Google's code weigh all views alike.
        z = projections() / 3.0
        weights = tf.random.normal([2, IMAGES], seed=1)

        def gradient(l_of):
            with tf.GradientTape() as tape:
                tape.watch(z)
                objective = tf.reduce_sum(weights * l_of(z))
            return tape.gradient(objective, z)

        def by_blocks(z):
            l1, l2, *_ = losses.blockwise.cross_entropies(z[0], z[1], 4)
            return tf.stack([l1, l2])

        def at_once(z):
            flat = tf.reshape(z, [2 * IMAGES, WIDTH])
            s = tf.matmul(flat, flat, transpose_b=True)
            s = tf.linalg.set_diag(s, tf.fill([2 * IMAGES], -1e9))
            partner = (tf.range(2 * IMAGES) + IMAGES) % (2 * IMAGES)
            entropies = tf.nn.sparse_softmax_cross_entropy_with_logits
            return tf.reshape(entropies(partner, s), [2, IMAGES])

        assert (
            golden.relative_to_max(gradient(by_blocks), gradient(at_once))
            < 1e-5
        )


class TestNumerics:
    @pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
    def test_low_precision_input_is_computed_in_float32(self, dtype):
        z = projections(dtype=dtype)
        results, gradient = value_and_gradient(z, 0.05, True, 4)
        wide, expected = value_and_gradient(
            tf.cast(z, tf.float32), 0.05, True, 4
        )
        assert results.dtype == tf.float32
        assert gradient.dtype == dtype
        np.testing.assert_array_equal(results, wide)
        np.testing.assert_array_equal(gradient, tf.cast(expected, dtype))

    @pytest.mark.parametrize("scale", [100.0, 1e6, 1e15])
    def test_large_inner_products(self, dense, scale):
        z = projections(num_images=50, scale=scale)
        results, gradient = value_and_gradient(z, 1.0, False, 7)
        assert np.all(np.isfinite(results))
        # Each view's weights sum to two at most, whatever the rounding.
        assert np.max(np.abs(gradient)) < 4 * np.max(np.abs(z))
        expected, expected_gradient = dense(z, 1.0, False)
        np.testing.assert_allclose(results[0], expected[0], rtol=1e-4)
        if scale < 1e3:
            error = golden.relative_to_max(gradient, expected_gradient)
            assert error < 1e-2

    def test_zero_projections(self):
        z = tf.zeros([2, 5, 3])
        (loss, accuracy, entropy), gradient = value_and_gradient(
            z, 0.1, True, 2
        )
        np.testing.assert_allclose(loss, np.log(9), rtol=1e-6)
        np.testing.assert_allclose(accuracy, 0.2)
        np.testing.assert_allclose(entropy, np.log(5), rtol=1e-6)
        assert np.all(np.isfinite(gradient))

    def test_accuracy_and_entropy_carry_no_gradient(self, dense):
        z = projections()
        for block_size in (None, 4):
            with tf.GradientTape() as tape:
                tape.watch(z)
                _, accuracy, entropy = losses.contrastive(
                    z[0], z[1], block_size=block_size
                )
                both = accuracy + entropy
            gradient = tape.gradient(both, z, unconnected_gradients="zero")
            assert not np.any(gradient)


class TestGraphs:
    @pytest.mark.parametrize("jit_compile", [True, False])
    def test_traced(self, jit_compile):
        traced = tf.function(value_and_gradient, jit_compile=jit_compile)
        arguments = projections(), 0.1, True, 4
        results, gradient = traced(*arguments)
        expected, expected_gradient = value_and_gradient(*arguments)
        np.testing.assert_allclose(results, expected, rtol=1e-5)
        assert golden.relative_to_max(gradient, expected_gradient) < 1e-5

    def test_batch_of_unknown_size(self):
        traced = tf.function(
            value_and_gradient,
            input_signature=[tf.TensorSpec([2, None, WIDTH])],
        )
        for num_images in (1, 40):
            z = projections(num_images)
            results, gradient = traced(z)
            expected, expected_gradient = value_and_gradient(z)
            np.testing.assert_allclose(results, expected, rtol=1e-5, atol=1e-6)
            error = np.max(np.abs(gradient - expected_gradient))
            assert error < 1e-5

    @pytest.mark.parametrize("block_size", [None, 512])
    def test_no_tensor_as_large_as_the_logits(self, block_size):
        num_images = 4096
        sizes = sizes_of_tensors(
            tf.function(value_and_gradient).get_concrete_function(
                tf.TensorSpec([2, num_images, WIDTH]), 0.1, True, block_size
            )
        )
        assert max(sizes) == (block_size or 256) * num_images


class TestReplicas:
    @pytest.mark.parametrize("block_size", [3, 5])
    def test_equal_one_replica_with_the_whole_batch(self, block_size):
        z = projections(10)
        strategy = replicas.mirrored()

        @tf.function
        def step(z):
            results, gradient = value_and_gradient(z, 0.1, True, block_size)
            return results / 2, gradient / 2

        values = strategy.experimental_distribute_values_from_function(
            lambda context: tf.split(z, 2, axis=1)[
                context.replica_id_in_sync_group
            ]
        )
        results, gradient = map(
            strategy.experimental_local_results, strategy.run(step, (values,))
        )
        expected, expected_gradient = value_and_gradient(
            z, 0.1, True, block_size
        )
        np.testing.assert_allclose(sum(results), expected, rtol=1e-5)
        gradient = tf.concat(gradient, axis=1)
        assert golden.relative_to_max(gradient, expected_gradient) < 1e-5


class TestRoute:
    def test_by_blocks_above_the_stated_size(self, monkeypatch):
        def refuse(*_):
            raise RuntimeError("whole matrix")

        monkeypatch.setattr(losses, "view_logits", refuse)
        limit = losses._DENSE_BYTES  # pylint: disable=protected-access
        largest = int((limit / 16) ** 0.5)
        trace = tf.function(losses.nt_xent).get_concrete_function
        with pytest.raises(RuntimeError, match="whole matrix"):
            trace(*[tf.TensorSpec([largest, 2])] * 2)
        trace(*[tf.TensorSpec([largest + 1, 2])] * 2)

    @pytest.mark.parametrize("block_size", [0, -1])
    def test_block_size_out_of_range(self, block_size):
        with pytest.raises(ValueError, match="`block_size` must be at least 1"):
            losses.nt_xent(*projections(), block_size=block_size)
