import json

import keras
import numpy as np
import pytest

from simclr_keras.evaluation import compare
from simclr_keras.evaluation import features
from simclr_keras.evaluation import knn
from simclr_keras.evaluation import linear_probe
from tests.evaluation import small

_SETTINGS = {"labels_per_class": (3, 5), "draws": 3, "seed": 2, "knn_k": 20}


def _compare(**settings):
    train, test = small.digit_datasets(300, 100)
    baselines = {"raw pixels": compare.raw_pixels(8)}
    return compare.run_with_probe(
        small.encoder(), baselines, train, test, **(_SETTINGS | settings)
    )


class TestRawPixels:
    def test_are_the_pixels(self):
        images = np.random.default_rng(0).random((2, 6, 5, 3), np.float32)
        pixels = compare.raw_pixels((6, 5))(images)
        np.testing.assert_array_equal(pixels, images.reshape(2, -1))
        gray = compare.raw_pixels((6, 5), grayscale=True)(images)
        np.testing.assert_array_equal(gray, images[..., 0].reshape(2, -1))

    def test_large_images_are_averaged_down(self):
        images = np.zeros((1, 96, 96, 3), np.float32)
        images[0, 0, 0] = 1
        pixels = compare.raw_pixels(96)(images).numpy()
        assert pixels.shape == (1, 32 * 32 * 3)
        # Every pixel of the image counts, also those between grid points.
        assert pixels[0, 0] > 0.05
        flat = compare.raw_pixels(96)(np.full_like(images, 0.3))
        np.testing.assert_allclose(flat, 0.3, atol=1e-6)

    # Keras' own warning about NumPy 2, while it saves.
    @pytest.mark.filterwarnings("ignore:__array__ impl")
    def test_survives_saving(self, tmp_path):
        model = compare.raw_pixels(64, grayscale=True)
        model.save(tmp_path / "pixels.keras")
        images = np.ones((1, 64, 64, 3), np.float32)
        loaded = keras.models.load_model(tmp_path / "pixels.keras")
        np.testing.assert_array_equal(loaded(images), model(images))


class TestIsGrayscale:
    def test_of_all_images(self):
        gray, _ = small.digit_datasets(300, 10)
        assert compare.is_grayscale(gray)
        images = np.zeros((9, 4, 4, 3), np.float32)
        assert compare.is_grayscale(small.dataset(images, batch_size=4))
        images[8, 0, 0, 2] = 0.1
        assert not compare.is_grayscale(small.dataset(images, batch_size=4))


class TestRun:
    def test_equals_the_protocols_one_by_one(self):
        train, test = small.digit_datasets(300, 100)
        encoder, pixels = small.encoder(), compare.raw_pixels(8)
        results = compare.run(
            encoder, {"raw pixels": pixels}, train, test, **_SETTINGS
        )
        rows = results["representations"]
        assert list(rows) == ["encoder", "raw pixels"]
        seeds = (2, 3, 4)
        for name, model in (("encoder", encoder), ("raw pixels", pixels)):
            expected = {
                "linear_probe": linear_probe.run(
                    model, train, test, seeds=seeds
                ),
                "linear_probe_3_per_class": linear_probe.run(
                    model, train, test, labels_per_class=3, seeds=seeds
                ),
                "linear_probe_5_per_class": linear_probe.run(
                    model, train, test, labels_per_class=5, seeds=seeds
                ),
                "knn": knn.run(model, train, test, k=20),
            }
            assert rows[name] == expected
        assert (results["num_train"], results["num_examples"]) == (300, 100)
        assert (results["seed"], results["draws"]) == (2, 3)

    def test_the_probe_is_that_of_the_encoder(self):
        results, probe = _compare(labels_per_class=())
        assert probe.kernel.shape == (16, 10)
        row = results["representations"]["encoder"]
        assert row["linear_probe"]["C"] == probe.C
        assert "linear_probe_3_per_class" not in row

    def test_each_model_embeds_each_set_once(self, monkeypatch):
        calls = []

        def extract(model, dataset, verbose):
            calls.append(model.name)
            return features.extract(model, dataset, verbose=verbose)

        monkeypatch.setattr(compare, "extract", extract)
        _compare()
        assert len(calls) == 4

    def test_leaves_the_models_bit_identical(self):
        encoder, other = small.encoder(), small.encoder(features=8)
        before = [
            [w.numpy().tobytes() for w in model.weights]
            for model in (encoder, other)
        ]
        train, test = small.digit_datasets(300, 100)
        compare.run(encoder, {"random": other}, train, test, **_SETTINGS)
        after = [
            [w.numpy().tobytes() for w in model.weights]
            for model in (encoder, other)
        ]
        assert after == before

    def test_knn_alone(self):
        results, probe = _compare(evaluations=("knn",))
        assert probe is None
        assert list(results["representations"]["encoder"]) == ["knn"]

    def test_repeats_and_round_trips_through_json(self):
        keras.utils.set_random_seed(0)
        first, _ = _compare()
        keras.utils.set_random_seed(0)
        again, _ = _compare()
        assert first == again
        assert json.loads(json.dumps(first, allow_nan=False)) == first

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"evaluations": ("svm",)}, "`evaluations` must be.*svm"),
            ({"evaluations": ()}, "`evaluations` must be"),
            ({"draws": 0}, "`draws` must be at least 1. Received: draws=0"),
            ({"labels_per_class": (90,)}, "`labels_per_class` must be at most"),
            ({"seed": -1}, "`seeds` must be"),
        ],
    )
    def test_wrong_settings(self, settings, message):
        with pytest.raises(ValueError, match=message):
            _compare(**settings)

    def test_name_of_the_encoder_is_taken(self):
        train, test = small.digit_datasets(20, 20)
        encoder = small.encoder()
        with pytest.raises(ValueError, match="`baselines` must not use"):
            compare.run(encoder, {"encoder": encoder}, train, test)

    def test_unlabelled_data_is_named(self):
        train, test = small.digit_datasets(20, 20)
        test = test.map(lambda images, labels: images)
        with pytest.raises(ValueError, match="`test` must have labels"):
            compare.run(small.encoder(), {}, train, test)
