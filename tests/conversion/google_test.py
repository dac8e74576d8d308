"""Google's checkpoints give Google's features, projections and logits."""

import re

import keras
import numpy as np
import pytest

import simclr_keras
from simclr_keras.conversion import google
from tests import golden
from tests import google_checkpoints

FILES = sorted(path.name for path in golden.FOLDER.glob("resnet_*.npz"))
HEADS = golden.npz("heads.npz")
LAYERS = [
    key.removesuffix("_var_names")
    for key in HEADS
    if re.fullmatch(r"nl\d+_var_names", key)
]
FORMATS = {
    "tf2": google_checkpoints.write_tf2,
    "saved_model": google_checkpoints.write_saved_model,
    "tf1": google_checkpoints.write_tf1,
    "hub": google_checkpoints.write_hub_module,
}


def cases():
    """Each file in each format; by default small ones in one of them."""
    for number, file in enumerate(FILES):
        settings = golden.text(golden.npz(file)["settings"])
        for place, name in enumerate(FORMATS):
            quick = settings["resnet_depth"] < 50 and place == number % 4
            marks = [] if quick else [pytest.mark.slow]
            yield pytest.param(file, name, marks=marks, id=f"{file}-{name}")


@pytest.fixture(autouse=True)
def _no_values_drawn(monkeypatch):
    # What is drawn is overwritten at once, and takes seconds.
    for name in ("VarianceScaling", "RandomNormal"):
        cls = getattr(keras.initializers, name)
        monkeypatch.setattr(cls, "__call__", keras.initializers.Zeros())


def assert_close(ours, expected):
    assert golden.relative_to_max(ours, expected) < 1e-5


class TestFeatures:
    @pytest.mark.parametrize("file,form", [*cases()])
    def test_are_those_of_google(self, file, form, tmp_path):
        arrays = golden.npz(file)
        settings = golden.text(arrays["settings"])
        FORMATS[form](google_checkpoints.of_file(arrays), tmp_path / "g")
        converted = google.from_google(tmp_path / "g")
        found = converted.recognised
        assert found.encoder == {
            "depth": settings["resnet_depth"],
            "width": settings.get("width_multiplier", 1),
            "sk_ratio": settings.get("sk_ratio", 0.0),
            "se_ratio": settings.get("se_ratio", 0.0),
            "stem": "cifar" if settings["image_size"] <= 32 else "imagenet",
        }
        assert found.projection_head["layers"] == settings.get(
            "num_proj_layers", 3
        )
        features = converted.encoder(
            golden.images(arrays["images_u8"]), training=False
        )
        assert_close(features, arrays["eval_final_pool"])
        projected = converted.projection_head(features, training=False)
        assert_close(projected, arrays["eval_proj_out"])
        classifier = converted.classifier(settings.get("ft_proj_selector", 0))
        assert_close(
            classifier(features, training=False), arrays["eval_logits_sup"]
        )


class TestHeads:
    @pytest.mark.parametrize("prefix", [*LAYERS, "linear"])
    def test_are_those_of_google(self, prefix, tmp_path):
        supervised = LAYERS[0] if prefix == "linear" else prefix
        google_checkpoints.write_hub_module(
            google_checkpoints.of_heads(HEADS, prefix, supervised),
            tmp_path / "g",
        )
        converted = google.from_google(tmp_path / "g")
        inputs = HEADS["inputs"]
        out = converted.projection_head(inputs, training=False)
        np.testing.assert_allclose(out, HEADS[f"{prefix}_eval_out"], atol=2e-5)
        np.testing.assert_allclose(
            converted.classifier()(inputs),
            HEADS[f"sup_logits_{supervised}"],
            atol=2e-5,
        )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small checkpoint and what it was converted to."""
    folder = tmp_path_factory.mktemp("tiny")
    google_checkpoints.write_tf1(google_checkpoints.tiny(), folder / "ckpt-3")
    return folder, google.from_google(folder, image_size=40)


class TestConverted:
    def test_takes_images_of_the_size(self, tiny):
        assert tiny[1].encoder.input_shape == (None, 40, 40, 3)

    def test_encoder_file_is_plain_keras(self, tiny, tmp_path):
        encoder = tiny[1].encoder
        simclr_keras.save_encoder(encoder, tmp_path / "encoder.keras")
        loaded = keras.models.load_model(tmp_path / "encoder.keras")
        images = np.random.default_rng(0).random((2, 40, 40, 3), np.float32)
        np.testing.assert_allclose(
            loaded(images), encoder(images, training=False), rtol=1e-4
        )

    def test_classifier_reads_the_selected_layer(self, tiny):
        _, converted = tiny
        width = converted.encoder.output_shape[-1]
        h = np.random.default_rng(0).normal(size=(3, width))
        head = simclr_keras.heads.head_outputs(converted.projection_head)
        for selector in (0, 1, 2, -2):
            np.testing.assert_allclose(
                converted.classifier(selector)(h),
                converted.linear_probe(head(h)[selector]),
                rtol=1e-5,
            )

    @pytest.mark.parametrize(
        "selector,message", [(-1, "has 32"), (4, r"-4, 3")]
    )
    def test_no_such_layer(self, tiny, selector, message):
        with pytest.raises(ValueError, match=message) as raised:
            tiny[1].classifier(selector)
        assert "`ft_proj_selector`" in str(raised.value)

    def test_without_heads(self, tmp_path):
        """Google's checkpoints of SimCLR v1 have no projection head."""
        encoder = [
            v for v in google_checkpoints.tiny() if v.name.startswith("resnet")
        ]
        google_checkpoints.write_tf2(encoder, tmp_path)
        converted = google.from_google(tmp_path)
        assert converted.projection_head is converted.linear_probe is None
        assert converted.classifier() is None
