"""Teachers of every kind give the logits of the network that was saved."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
from simclr_keras import heads
from simclr_keras import preprocessing
from simclr_keras import teacher
from tests import google_checkpoints

CLASSES, FEATURES = 4, 5


def tiny_encoder(size=8, channels=3):
    """Embeddings that tell the pixels of the border from those inside."""
    images = keras.Input([size, size, channels])
    init = keras.initializers.RandomNormal(stddev=0.3, seed=1)
    x = keras.layers.Flatten()(images)
    x = keras.layers.Dense(FEATURES, kernel_initializer=init)(x)
    return keras.Model(images, keras.layers.BatchNormalization()(x))


def classifier():
    model = heads.linear_probe(FEATURES, CLASSES, seed=2)
    model.set_weights([100 * weight for weight in model.get_weights()])
    return model


def views(size=8, num=3):
    rng = np.random.default_rng(3)
    return tf.constant(rng.uniform(size=[num, size, size, 3]), tf.float32)


def export(folder, size=8):
    """Exports a tiny network; returns it as a function."""
    encoder, head = tiny_encoder(size), classifier()
    simclr_keras.export.export_saved_model(
        encoder, folder, image_size=size, classifier=head
    )
    return lambda images: head(encoder(images))


class Module(tf.Module):
    """What somebody else may have saved, with one signature."""

    def __init__(self, output, size=6):
        rng = np.random.default_rng(0)
        self.kernel = tf.Variable(
            rng.normal(size=[3, CLASSES]), dtype="float32"
        )
        spec = tf.TensorSpec([None, size, size, 3], name="pixels")
        self.serve = tf.function(
            lambda pixels: {
                output: tf.reduce_mean(pixels, [1, 2]) @ self.kernel
            },
            input_signature=[spec],
        )


def probabilities(logits):
    return tf.nn.softmax(logits).numpy()


class TestRun:
    def test_encoder_and_classifier(self, tmp_path):
        encoder, head = tiny_encoder(), classifier()
        simclr_keras.save_encoder(encoder, tmp_path / "encoder.keras")
        simclr_keras.save_encoder(head, tmp_path / "classifier.keras")
        found = teacher.load_teacher(tmp_path, 8, num_classes=CLASSES)
        np.testing.assert_allclose(
            found(views().numpy()), head(encoder(views())), rtol=1e-5
        )
        assert found.image_size == (8, 8)
        assert found.output_shape == (None, CLASSES)
        expected = encoder.count_params() + head.count_params()
        assert found.count_params() == expected

    def test_views_are_resized_to_what_it_takes(self, tmp_path):
        encoder, head = tiny_encoder(), classifier()
        simclr_keras.save_encoder(encoder, tmp_path / "encoder.keras")
        simclr_keras.save_encoder(head, tmp_path / "classifier.keras")
        large = views(12)
        found = teacher.load_teacher(tmp_path, 12)(large)
        small = preprocessing.center_crop_and_resize(large, 8, 1.0)
        np.testing.assert_allclose(found, head(encoder(small)), rtol=1e-5)

    def test_without_classifier(self, tmp_path):
        simclr_keras.save_encoder(tiny_encoder(), tmp_path / "encoder.keras")
        with pytest.raises(ValueError, match="classifier.keras.*finetune"):
            teacher.load_teacher(tmp_path, 8)


class TestKerasFile:
    def test_probabilities_become_their_logarithms(self, tmp_path):
        images = keras.Input([8, 8, 3])
        logits = classifier()(tiny_encoder()(images))
        model = keras.Model(images, keras.layers.Softmax()(logits))
        model.save(tmp_path / "model.keras")
        found = teacher.load_teacher(tmp_path / "model.keras", 8)(views())
        expected = keras.Model(images, logits)(views())
        np.testing.assert_allclose(
            probabilities(found), probabilities(expected), rtol=1e-4
        )
        assert np.all(found <= 0)

    def test_any_image_size_takes_that_of_the_views(self, tmp_path):
        images = keras.Input([None, None, 3])
        pooled = keras.layers.GlobalAveragePooling2D()(images)
        model = keras.Model(images, keras.layers.Dense(CLASSES)(pooled))
        model.save(tmp_path / "model.keras")
        found = teacher.load_teacher(tmp_path / "model.keras", 12)
        assert found.image_size == (12, 12)
        np.testing.assert_allclose(
            found(views(12)), model(views(12)), rtol=1e-5
        )

    def test_embeddings_are_not_classes(self, tmp_path):
        path = tmp_path / "encoder_alone.keras"
        tiny_encoder().save(path)
        with pytest.raises(ValueError, match="data's 10 classes.*gives 5"):
            teacher.load_teacher(path, 8, num_classes=10)

    @pytest.mark.parametrize(
        ("model", "message"),
        [
            (tiny_encoder(channels=1), "images.*Received.*1"),
            (
                keras.Sequential(
                    [keras.Input([8, 8, 3]), keras.layers.Conv2D(2, 1)]
                ),
                "logits or probabilities.*'B', 8, 8, 2",
            ),
        ],
    )
    def test_other_models(self, model, message, tmp_path):
        model.save(tmp_path / "model.keras")
        with pytest.raises(ValueError, match=message):
            teacher.load_teacher(tmp_path / "model.keras", 8)


class TestSavedModel:
    @pytest.mark.slow
    def test_export_of_this_package(self, tmp_path):
        # Exports crop images above 32 pixels; views are cropped already.
        size = 37
        network = export(tmp_path / "1", size)
        found = teacher.load_teacher(tmp_path / "1", size)
        np.testing.assert_allclose(
            probabilities(found(views(size))),
            probabilities(network(views(size))),
            rtol=1e-3,
            atol=1e-5,
        )
        assert len(found.weights) > 1

    def test_a_frame_is_what_an_export_cuts_off(self):
        for size in (33, 40, 96, 99, 224):
            image = tf.random.stateless_uniform([1, size, size, 3], [1, 2])
            framed = teacher._framed(image, 0.875)
            found = preprocessing.preprocess(framed, size)
            np.testing.assert_allclose(found, image, atol=1e-6)

    def test_of_somebody_else(self, tmp_path):
        module = Module("answer")
        tf.saved_model.save(module, tmp_path / "saved")
        found = teacher.load_teacher(tmp_path / "saved", 8)
        assert found.image_size == (6, 6)
        np.testing.assert_allclose(
            found(views(6)), module.serve(views(6))["answer"], rtol=1e-5
        )

    def test_highest_version_of_a_folder(self, tmp_path):
        for version, size in ((9, 5), (10, 6)):
            module = Module("answer", size)
            tf.saved_model.save(module, tmp_path / str(version))
        assert teacher.load_teacher(tmp_path, 8).image_size == (6, 6)

    def test_without_classifier(self, tmp_path):
        tf.saved_model.save(Module("embedding"), tmp_path / "1")
        with pytest.raises(ValueError, match="signature.*serving.*classify"):
            teacher.load_teacher(tmp_path, 8)

    def test_damaged(self, tmp_path):
        (tmp_path / "saved_model.pb").write_bytes(b"nothing")
        with pytest.raises(ValueError, match="SavedModel that this TensorFlow"):
            teacher.load_teacher(tmp_path, 8)


class TestGoogle:
    def test_supervised_head(self, tmp_path):
        variables = google_checkpoints.tiny()
        google_checkpoints.write_tf1(variables, tmp_path / "model.ckpt-1")
        converted = simclr_keras.conversion.from_google(tmp_path, 8)
        found = teacher.load_teacher(tmp_path, 8)
        expected = converted.linear_probe(converted.encoder(views()))
        np.testing.assert_allclose(found(views()), expected, rtol=1e-4)


def test_nothing_there(tmp_path):
    for path in (tmp_path, tmp_path / "typo", tmp_path / "typo.keras"):
        with pytest.raises(ValueError, match="`path` must be.*Received"):
            teacher.load_teacher(path, 8)
