"""Names of TF1 and TF2 lead to the same variables, of all networks."""

import pytest

from simclr_keras.conversion import names
from simclr_keras.conversion import recognition
from tests import golden
from tests import google_checkpoints

MODELS = golden.load_json("variables.json")["models"]
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def read(model):
    """TF2 paths and TF1 names of a model's variables, with their shapes."""
    tf2, tf1 = {}, {}
    for name, shape, _, key in model["variables"]:
        tf2[key.removesuffix(SUFFIX)] = tuple(shape)
        variable = google_checkpoints.Variable(name, key, None)
        tf1[variable.tf1_name] = tuple(shape)
    return tf2, tf1


@pytest.mark.parametrize("name", MODELS)
class TestAllNetworks:
    def test_tf1_and_tf2_name_the_same(self, name):
        tf2, tf1 = read(MODELS[name])
        by_tf2, by_tf1 = names.from_tf2(tf2), names.from_tf1(tf1)
        assert len(by_tf2) == len(tf2) == MODELS[name]["num_variables"]
        assert [by_tf1[n] for n in tf1] == [by_tf2[p] for p in tf2]

    def test_are_recognised(self, name):
        settings = MODELS[name]["settings"]
        tf2, _ = read(MODELS[name])
        shapes = {ours: tf2[path] for path, ours in names.from_tf2(tf2).items()}
        found = recognition.recognise(shapes)
        small = settings.get("image_size", 224) <= 32
        assert found.encoder == {
            "depth": settings["resnet_depth"],
            "width": settings.get("width_multiplier", 1),
            "sk_ratio": settings.get("sk_ratio", 0.0),
            "se_ratio": settings.get("se_ratio", 0.0),
            "stem": "cifar" if small else "imagenet",
        }
        assert found.projection_head["layers"] == settings.get(
            "num_proj_layers", 3
        )
        assert found.projection_head["out_dim"] == settings.get(
            "proj_out_dim", 128
        )
        assert found.linear_probe["num_classes"] == settings.get(
            "num_classes", 1000
        )


class TestResnetD:
    def test_is_told_from_the_place_of_the_shortcut(self):
        start = "model/resnet_model/block_groups/0/layers/0/shortcut_layers"
        assert names.pools_before_shortcuts([f"{start}/1/conv2d/kernel"])
        assert not names.pools_before_shortcuts([f"{start}/0/conv2d/kernel"])

    def test_with_the_small_stem(self):
        plain = min(MODELS.values(), key=lambda m: m["num_variables"])
        tf2, _ = read(plain)
        shapes = {ours: tf2[path] for path, ours in names.from_tf2(tf2).items()}
        found = recognition.recognise(shapes, pools_before_shortcuts=True)
        assert found.encoder["sk_ratio"] > 0


class TestTf1:
    def test_missing_variables_do_not_shift_the_others(self):
        _, shapes = read(MODELS[min(MODELS)])
        whole = names.from_tf1(shapes)
        lost = list(shapes)[40]
        partial = names.from_tf1({n: shapes[n] for n in shapes if n != lost})
        assert partial == {n: ours for n, ours in whole.items() if n != lost}

    def test_convolutions_of_no_network(self):
        assert not names.from_tf1({"base_model/conv2d/kernel": (5, 5, 3, 64)})
