import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.evaluation import checks
from simclr_keras.evaluation import features
from tests.evaluation import small


def _images(num=10):
    rng = np.random.default_rng(0)
    return rng.random((num, 8, 8, 3), dtype=np.float32)


def _bytes(model):
    return [w.numpy().tobytes() for w in model.weights]


class TestExtract:
    def test_equals_the_encoder_in_inference_mode(self):
        encoder, images = small.encoder(), _images()
        labels = np.arange(10)
        data = small.dataset(images, labels, batch_size=4)
        result = features.extract(encoder, data)
        expected = encoder(images, training=False).numpy()
        np.testing.assert_allclose(result.x, expected, atol=1e-6)
        np.testing.assert_array_equal(result.labels, labels)
        assert result.x.dtype == np.float32
        assert result.labels.dtype == np.int64

    def test_frozen_means_frozen(self):
        encoder = small.encoder()
        before = _bytes(encoder)
        assert any(w.path.endswith("moving_mean") for w in encoder.weights)
        features.extract(encoder, small.dataset(_images()))
        assert _bytes(encoder) == before

    def test_without_labels(self):
        result = features.extract(small.encoder(), small.dataset(_images()))
        assert result.labels is None

    def test_smaller_last_batch_is_not_traced_again(self):
        traced = []

        class Counting(keras.layers.Layer):
            def call(self, x):
                traced.append(x.shape)
                return tf.reduce_mean(x, [1, 2])

        model = keras.Sequential([keras.Input((8, 8, 3)), Counting()])
        traced.clear()
        result = features.extract(
            model, small.dataset(_images(), batch_size=4).cache()
        )
        assert len(traced) == 1
        assert len(result.x) == 10

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_float32_under_mixed_precision(self, policy):
        keras.config.set_dtype_policy(policy)
        result = features.extract(small.encoder(), small.dataset(_images()))
        assert result.x.dtype == np.float32

    def test_data_of_unknown_length(self):
        data = small.dataset(_images()).filter(lambda images: True)
        result = features.extract(small.encoder(), data, verbose=True)
        assert len(result.x) == 10

    def test_encoder_that_moves_its_statistics_is_refused(self):
        class AlwaysTraining(keras.layers.Layer):
            def __init__(self):
                super().__init__()
                self.norm = keras.layers.BatchNormalization(name="bn")

            def call(self, x):
                return self.norm(tf.reduce_mean(x, [1, 2]), training=True)

        encoder = keras.Sequential([keras.Input((8, 8, 3)), AlwaysTraining()])
        with pytest.raises(ValueError, match="`encoder` must stay.*moving_m"):
            features.extract(encoder, small.dataset(_images()))

    def test_encoder_without_a_flat_output_is_refused(self):
        encoder = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.ReLU()]
        )
        with pytest.raises(ValueError, match=r"`encoder` must map.*8, 8, 3"):
            features.extract(encoder, small.dataset(_images()))

    def test_nan_is_refused(self):
        images = _images()
        images[3] = np.nan
        with pytest.raises(ValueError, match="`encoder` must give finite"):
            features.extract(small.encoder(), small.dataset(images))

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (small.dataset(np.zeros((4, 8), np.float32)), "must give images"),
            (small.dataset({"image": _images()}), "must give images"),
            (small.dataset(np.zeros((4, 8, 8, 3), np.uint8)), "float images"),
            (small.dataset(_images(4), np.eye(4)), "class indices.*not one"),
            (small.dataset(_images()).repeat(), "`dataset` must end"),
            (small.dataset(_images()).take(0), "must hold images"),
        ],
    )
    def test_data_that_does_not_fit_is_refused(self, data, message):
        with pytest.raises(ValueError, match=message):
            features.extract(small.encoder(), data)


class TestChecks:
    def test_labels_are_required_by_name(self):
        data = small.dataset(_images())
        with pytest.raises(ValueError, match="`test` must have labels"):
            checks.labelled(test=data)
        with pytest.raises(ValueError, match="`train` must have labels"):
            checks.labelled(train=features.Features(np.zeros((2, 1)), None))

    @pytest.mark.parametrize(
        ("labels", "num_classes", "message"),
        [
            ([0, -1], None, "`train` must have labels from 0 to K - 1.*-1 to"),
            ([0, 3], 3, "`train` must have labels from 0 to 2.*0 to 3"),
            ([2, 2], None, "`train` must have at least two classes.*class 2"),
        ],
    )
    def test_labels_out_of_range(self, labels, num_classes, message):
        part = features.Features(np.zeros((2, 3)), np.array(labels))
        with pytest.raises(ValueError, match=message):
            checks.training("train", part, num_classes)

    def test_widths_must_agree(self):
        labels = np.arange(2)
        train = features.Features(np.zeros((2, 3)), labels)
        test = features.Features(np.zeros((2, 4)), labels)
        with pytest.raises(ValueError, match="`test` must have embeddings"):
            checks.pair(train, test)

    def test_number_of_classes(self):
        train = features.Features(np.zeros((2, 1)), np.array([0, 4]))
        test = features.Features(np.zeros((1, 1)), np.array([6]))
        assert checks.pair(train, test) == 7
        assert checks.pair(train, test, 10) == 10
        assert checks.pair(test=train, train=train) == 5
        assert checks.unseen_classes(train, test) == [6]
