"""One seed, one view: chunks, graphs, XLA, replicas, dtypes, tf.data."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.platform import tf_logging

from simclr_keras import augment
from simclr_keras.augment import augmenter
from simclr_keras.augment import fold_seed
from tests import golden

SEED = (1, 2)


def images_of(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (*shape, 3)).astype(np.uint8)


def graph(layer, **options):
    """The layer as a train step calls it: a graph, without autograph."""
    return tf.function(
        lambda images, seed: layer(images, seed=seed, **options),
        autograph=False,
    )


@pytest.fixture
def chunks_of(monkeypatch):
    """Sets how many images a chunk holds; None is the whole batch."""

    def set_size(size):
        monkeypatch.setattr(augment, "_CHUNK_PIXELS", (size or 10**6) * 144)

    return set_size


class TestRoutes:
    """One seed, one view, however it is computed."""

    LAYER = dict(strength=1.0, solarize=0.3, blur_sigma="image")

    def expected(self, images, seed=SEED):
        """The parts as separate layers, over the whole batch in one go."""
        layer = augmenter(12, **self.LAYER)
        drawn = layer.get_random_transformation_batch(
            len(images), images=tf.constant(images), seed=tf.constant(seed)
        )
        views = layer.crop.augment_images(tf.constant(images), drawn["crop"])
        views = layer.jitter.augment_images(views, drawn["jitter"])
        views = layer.grayscale.augment_images(views, drawn["grayscale"])
        views = tf.clip_by_value(views, 0, 1)
        views = layer.blur.augment_images(views, drawn["blur"])
        return layer.solarize.augment_images(views, drawn["solarize"])

    @pytest.mark.parametrize(
        ("size", "jit_compile"),
        [(1, False), (5, True), (5, False), (None, True), (None, False)],
    )
    def test_chunks_do_not_matter(self, chunks_of, size, jit_compile):
        images = images_of(13, 15, 14)
        chunks_of(size)
        layer = augmenter(12, jit_compile=jit_compile, **self.LAYER)
        views = graph(layer)(images, SEED)
        np.testing.assert_allclose(
            views, self.expected(images), rtol=0, atol=2e-6
        )

    def test_neighbours_do_not_matter(self, chunks_of):
        """Bit by bit: what one image needs never touches another."""
        images, others = images_of(12, 15, 14), images_of(12, 15, 14, seed=1)
        rows = np.arange(12) % 3 == 0
        others[rows] = images[rows]
        chunks_of(4)
        view = graph(augmenter(12, **self.LAYER))
        np.testing.assert_array_equal(
            view(images, SEED).numpy()[rows], view(others, SEED).numpy()[rows]
        )

    @pytest.mark.parametrize(
        ("jit_compile", "first_rows"),
        # XLA compiles once for each.
        [(False, (0, 5, 9)), (True, (5,))],
    )
    def test_rows_of_a_batch(self, jit_compile, first_rows):
        images = images_of(13, 15, 14)
        layer = augmenter(12, **self.LAYER)
        part = tf.function(
            lambda first: layer(
                tf.slice(images, [first, 0, 0, 0], [4, -1, -1, -1]),
                seed=SEED,
                first_row=first,
                num_rows=13,
            ),
            jit_compile=jit_compile,
            autograph=False,
        )
        expected = self.expected(images)
        for first in first_rows:
            np.testing.assert_allclose(
                part(tf.constant(first)),
                expected[first : first + 4],
                rtol=0,
                atol=2e-6,
            )

    def test_accelerators_get_the_whole_batch(self, monkeypatch):
        images = images_of(13, 15, 14)
        monkeypatch.setattr(augment, "_has_accelerator", lambda: True)
        monkeypatch.setattr(tf, "map_fn", None)
        views = graph(augmenter(12, **self.LAYER))(images, SEED)
        np.testing.assert_allclose(
            views, self.expected(images), rtol=0, atol=2e-6
        )

    def test_one_compilation_serves_all_calls(self, chunks_of):
        chunks_of(4)
        layer = augmenter(12, **self.LAYER)
        images = images_of(8, 15, 14)
        pair = tf.function(
            lambda x: (layer(x, seed=(1, 2)), layer(x, seed=(1, 3))),
            autograph=False,
        )
        pair.get_concrete_function(images)
        assert layer._compiled.experimental_get_tracing_count() == 1

    def test_eager(self, chunks_of, monkeypatch):
        # What TensorFlow says once per process would be said in another test.
        warnings = []
        monkeypatch.setattr(
            tf_logging, "log_first_n", lambda *said: warnings.append(said)
        )
        images = images_of(13, 15, 14)
        chunks_of(5)
        views = augmenter(12, **self.LAYER)(images, seed=SEED)
        np.testing.assert_allclose(
            views, self.expected(images), rtol=0, atol=2e-6
        )
        assert warnings == []

    @pytest.mark.slow
    def test_xla(self, chunks_of):
        images = images_of(5, 15, 14)
        chunks_of(2)
        layer = augmenter(12, **self.LAYER)
        view = tf.function(
            lambda images, seed: layer(images, seed=seed),
            autograph=False,
            jit_compile=True,
        )
        np.testing.assert_allclose(
            view(images, tf.constant(SEED)),
            self.expected(images),
            rtol=0,
            atol=5e-6,
        )

    def test_unknown_batch_size(self, chunks_of):
        chunks_of(4)
        layer = augmenter(12, jit_compile=False, **self.LAYER)
        view = tf.function(
            lambda images: layer(images, seed=SEED),
            autograph=False,
            input_signature=[tf.TensorSpec([None, 15, 14, 3], tf.uint8)],
        )
        for count in (0, 3, 9):
            images = images_of(count, 15, 14)
            views = view(images)
            assert views.shape == (count, 12, 12, 3)
            if count:
                np.testing.assert_allclose(
                    views, self.expected(images), rtol=0, atol=2e-6
                )

    def test_uint8_and_float(self):
        images = images_of(8, 15, 14)
        np.testing.assert_allclose(
            self.expected(images),
            self.expected(golden.images(images)),
            rtol=0,
            atol=5e-6,
        )

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_dtype_policies(self, policy):
        images = golden.images(images_of(8, 15, 14))
        expected = augmenter(12, **self.LAYER)(images, seed=SEED)
        keras.config.set_dtype_policy(policy)
        views = augmenter(12, **self.LAYER)(images, seed=SEED)
        assert views.dtype == tf.float32
        np.testing.assert_array_equal(views, expected)

    def test_two_replicas(self):
        strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
        with strategy.scope():
            layer = augmenter(12, jit_compile=False, **self.LAYER)
        images = tf.constant(images_of(4, 15, 14))

        @tf.function(autograph=False)
        def views():
            def replica():
                context = tf.distribute.get_replica_context()
                seed = fold_seed(0, context.replica_id_in_sync_group)
                return layer(images, seed=seed)

            return strategy.run(replica)

        for number, view in enumerate(
            strategy.experimental_local_results(views())
        ):
            np.testing.assert_allclose(
                view,
                self.expected(images.numpy(), fold_seed(0, number).numpy()),
                rtol=0,
                atol=2e-6,
            )

    def test_inside_tf_data(self):
        images = images_of(6, 15, 14)
        layer = augmenter(12, **self.LAYER)
        dataset = tf.data.Dataset.from_tensors(images).map(
            lambda x: layer(x, seed=SEED)
        )
        assert dataset.element_spec.shape == (6, 12, 12, 3)
        np.testing.assert_allclose(
            next(iter(dataset)), self.expected(images), rtol=0, atol=2e-6
        )
