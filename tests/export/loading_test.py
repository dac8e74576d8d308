import json

import keras
import numpy as np
import pytest

from simclr_keras.export import loading

KERNEL = np.arange(12, dtype=np.float32).reshape(4, 3)
BIAS = np.array([1, 2, 3], np.float32)


def saved(tmp_path, **arrays):
    path = tmp_path / "linear_probe.npz"
    np.savez(path, **arrays)
    return path


class TestLoadEncoder:
    def test_is_the_saved_model(self, tmp_path):
        inputs = keras.Input((4, 4, 3))
        outputs = keras.layers.GlobalAveragePooling2D()(inputs)
        keras.Model(inputs, outputs).save(tmp_path / "encoder.keras")
        encoder = loading.load_encoder(tmp_path / "encoder.keras")
        assert encoder.output_shape == (None, 3)


class TestLoadProjectionHead:
    def test_is_optional(self, tmp_path):
        assert loading.load_projection_head(None) is None
        assert loading.load_projection_head(tmp_path) is None

    def test_is_that_of_the_run(self, tmp_path):
        inputs = keras.Input((4,))
        head = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        head.save(tmp_path / "projection_head.keras")
        x = np.ones((2, 4), np.float32)
        np.testing.assert_array_equal(
            loading.load_projection_head(tmp_path)(x), head(x)
        )


class TestLoadClassifier:
    def test_is_optional(self, tmp_path):
        assert loading.load_classifier(None) == (None, None)
        assert loading.load_classifier(tmp_path) == (None, None)

    @pytest.mark.parametrize("names", [["a", "ü"], None])
    def test_is_that_of_the_run(self, tmp_path, names):
        inputs = keras.Input((4,))
        trained = keras.Model(inputs, keras.layers.Dense(2)(inputs))
        trained.save(tmp_path / "classifier.keras")
        config = {} if names is None else {"class_names": names}
        (tmp_path / "config.json").write_text(json.dumps(config))
        classifier, class_names = loading.load_classifier(tmp_path)
        x = np.ones((2, 4), np.float32)
        np.testing.assert_array_equal(classifier(x), trained(x))
        assert class_names == names


class TestLoadProbe:
    def test_is_the_saved_layer(self, tmp_path):
        path = saved(
            tmp_path, kernel=KERNEL, bias=BIAS, class_names=["a", "b", "ü"]
        )
        probe, names = loading.load_probe(path)
        features = np.random.default_rng(0).normal(size=(5, 4))
        np.testing.assert_allclose(
            probe(features), features @ KERNEL + BIAS, rtol=1e-5
        )
        assert names == ["a", "b", "ü"]

    def test_names_are_optional(self, tmp_path):
        path = saved(tmp_path, kernel=KERNEL, bias=BIAS)
        assert loading.load_probe(path)[1] is None

    def test_logits_are_float32_under_any_policy(self, tmp_path):
        keras.config.set_dtype_policy("mixed_bfloat16")
        probe, _ = loading.load_probe(saved(tmp_path, kernel=KERNEL, bias=BIAS))
        assert probe(np.ones((1, 4), np.float32)).dtype == "float32"

    def test_missing_array(self, tmp_path):
        with pytest.raises(ValueError, match="has no array 'bias'"):
            loading.load_probe(saved(tmp_path, kernel=KERNEL))

    def test_shapes_must_agree(self, tmp_path):
        path = saved(tmp_path, kernel=KERNEL, bias=BIAS[:2])
        with pytest.raises(ValueError, match="`kernel` must be"):
            loading.load_probe(path)
