"""ResNets against Google's numbers, layer by layer and value by value."""

import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import heads
from simclr_keras.resnet import DEPTHS
from simclr_keras.resnet import ENDPOINTS
from simclr_keras.resnet import STEMS
from simclr_keras.resnet import resnet
from tests import golden
from tests import google_weights

FILES = sorted(path.name for path in golden.FOLDER.glob("resnet_*.npz"))
INITIAL = golden.load_json("init_stats.json")
VARIABLES = golden.load_json("variables.json")


def tiny(**arguments):
    """The smallest ResNet that has all its parts."""
    defaults = {"depth": 18, "width": 1 / 16, "stem": "cifar", "image_size": 8}
    return resnet(**defaults | arguments)


def tiny_bottleneck(**arguments):
    return tiny(depth=50, sk_ratio=0.5, se_ratio=0.5, **arguments)


def image_batch(size, count=4):
    return tf.random.stateless_uniform([count, size, size, 3], seed=[1, 2])


@pytest.fixture
def unallocated():
    """Weights have a shape and no values; the widest has 878 million."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    # Or Keras would allocate them all with the next model.
    keras.utils.clear_session(free_memory=False)


class Reference:
    """A golden file, our models with its weights, and what they compute."""

    def __init__(self, file):
        self.arrays = golden.npz(file)
        self.settings = golden.text(self.arrays["settings"])
        self.notes = golden.text(self.arrays["error_notes"])
        self.images = golden.images(self.arrays["images_u8"])
        with pytest.MonkeyPatch.context() as patch:
            # Drawing values that are overwritten at once takes seconds.
            for name in ("VarianceScaling", "RandomNormal"):
                cls = getattr(keras.initializers, name)
                patch.setattr(cls, "__call__", keras.initializers.Zeros())
            self.models = google_weights.models(self.settings)
        self.variables = google_weights.assign_deterministic(
            self.models, self.arrays["var_names"], self.arrays["var_ckpt_keys"]
        )
        encoder, head, self.probe = self.models
        maps = [encoder.get_layer(name).output for name in ENDPOINTS]
        # The reference takes its first endpoint before normalisation.
        maps[0] = encoder.get_layer("stem_conv").output
        self.maps = keras.Model(encoder.input, [*maps, encoder.output])
        self.head_outputs = heads.head_outputs(head)
        self.inference = self.forward(training=False)

    def forward(self, training):
        """{array name without mode: our value}."""
        *maps, h = self.maps(self.images, training=training)
        names = ["initial_conv", "initial_max_pool"]
        names += [f"group{i}" for i in range(1, 5)]
        values = {
            f"{name}_pooled": tf.reduce_mean(value, axis=[1, 2])
            for name, value in zip(names, maps, strict=True)
        }
        values["group4_map0"] = maps[-1][0]
        outputs = self.head_outputs(h, training=training)
        for k, hidden in enumerate(outputs[1:-1], start=1):
            values[f"ft{k}"] = hidden
        selected = outputs[self.settings.get("ft_proj_selector", 0)]
        logits = self.probe(tf.stop_gradient(selected), training=training)
        return values | {
            "final_pool": h,
            "proj_out": outputs[-1],
            "logits_sup": logits,
        }

    @functools.cached_property
    def training(self):
        """Values, gradients by name and moving statistics after one step."""
        names = self.arrays["trainable_names"]
        variables = [self.variables[name].value for name in names]
        with tf.GradientTape() as tape:
            values = self.forward(training=True)
            loss = sum(
                tf.reduce_mean(values[output] * self.arrays[weight])
                for output, weight in (
                    ("proj_out", "grad_weight_proj"),
                    ("logits_sup", "grad_weight_logits"),
                )
            )
        gradients = tape.gradient(loss, variables)
        moving = {
            name: self.variables[name].numpy()
            for name in self.arrays["moving_names"]
        }
        return values, gradients, moving

    def expected(self, mode):
        """{name without mode: array} of the values that `forward` gives."""
        prefix = f"{mode}_"
        arrays = {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }
        return {k: v for k, v in arrays.items() if k in self.inference}

    def tolerance(self, name):
        """Ten times the reference's own noise in this array."""
        noise = self.notes[f"train_{name}"].values()
        return max(2e-5, 10 * max(noise))


@pytest.fixture(scope="module", params=FILES)
def reference(request):
    return Reference(request.param)


class TestGoogle:
    def test_inference(self, reference):
        expected = reference.expected("eval")
        assert {"proj_out", "logits_sup", "group1_pooled"} <= set(expected)
        for name, array in expected.items():
            error = golden.relative_to_max(reference.inference[name], array)
            assert error < 1e-5, f"{name}: {error}"

    @pytest.mark.parametrize("mode", ["train", "train64"])
    def test_training(self, reference, mode):
        values, _, _ = reference.training
        for name, array in reference.expected(mode).items():
            error = golden.relative_to_max(values[name], array)
            assert error < reference.tolerance(name), f"{name}: {error}"

    def test_moving_statistics(self, reference):
        _, _, moving = reference.training
        values = np.concatenate([m.ravel() for m in moving.values()])
        error = golden.relative_to_max(
            values, reference.arrays["train_moving_values"]
        )
        assert error < reference.tolerance("moving_values")

    def test_gradients(self, reference):
        _, gradients, _ = reference.training
        norms = np.array([np.linalg.norm(g) for g in gradients])
        expected = reference.arrays["train64_grad_norms"]
        large = expected > 1e-3 * np.median(expected)
        # Rounding grows through the batch norms of a deep network.
        depth = reference.settings["resnet_depth"]
        tolerance = 2e-2 if depth <= 34 else 1e-1 if depth <= 50 else 1.0
        ratio = norms[large] / expected[large]
        assert np.max(np.maximum(ratio, 1 / ratio)) < 1 + tolerance
        assert np.all(norms[~large] < 2e-3 * np.median(expected))

    def test_gradient_of_the_first_convolution(self, reference):
        _, gradients, _ = reference.training
        first = [
            gradient
            for gradient, name in zip(
                gradients, reference.arrays["trainable_names"], strict=True
            )
            if name.startswith("resnet/conv2d_fixed_padding/")
        ]
        error = golden.relative_to_max(
            first[0], reference.arrays["train_grad_first_conv"]
        )
        assert error < reference.tolerance("grad_first_conv")


class TestVariables:
    @pytest.mark.usefixtures("unallocated")
    @pytest.mark.parametrize("name", VARIABLES["models"])
    def test_are_those_of_google(self, name):
        model = VARIABLES["models"][name]
        models = google_weights.models(model["settings"])
        ours = google_weights.variables(*models)
        rows = [
            dict(zip(VARIABLES["columns"], row, strict=True))
            for row in model["variables"]
        ]
        paths = google_weights.variable_paths(
            [row["checkpoint_key"] for row in rows]
        )
        assert {
            paths[row["checkpoint_key"]]: (row["shape"], row["trainable"])
            for row in rows
        } == {path: (list(v.shape), v.trainable) for path, v in ours.items()}
        assert len(ours) == model["num_variables"]


class TestInitialValues:
    @pytest.mark.parametrize("model", INITIAL, ids=lambda m: str(m["settings"]))
    def test_are_distributed_as_google_s(self, model):
        settings = model["settings"] | {"num_classes": model["num_classes"]}
        ours = google_weights.variables(*google_weights.models(settings))
        rows = [
            dict(zip(model["columns"], row, strict=True))
            for row in model["variables"]
        ]
        paths = google_weights.variable_paths(
            [row["checkpoint_key"] for row in rows]
        )
        for row in rows:
            path = paths[row["checkpoint_key"]]
            values = ours[path].numpy()
            if row["min"] == row["max"]:
                assert np.all(values == row["min"]), path
                continue
            std = 0.01 if values.ndim == 2 else row["fan_in"] ** -0.5
            assert values.size == row["count"]
            noise = 6 / np.sqrt(values.size)
            assert abs(values.mean()) < noise * std, path
            assert abs(values.std() / std - 1) < noise / np.sqrt(2), path
            if values.ndim == 4:
                # Two standard deviations of the normal that was truncated.
                assert np.abs(values).max() < 2.275 * std, path


class TestShapes:
    @pytest.mark.usefixtures("unallocated")
    @pytest.mark.parametrize("depth", DEPTHS)
    def test_depths(self, depth):
        encoder = resnet(depth)
        assert encoder.input_shape == (None, 224, 224, 3)
        assert encoder.output_shape == (None, 512 if depth < 50 else 2048)
        # Depth counts convolutions and the classifier, not shortcuts.
        convolutions = [
            layer
            for layer in encoder.layers
            if isinstance(layer, keras.layers.Conv2D)
            and "shortcut" not in layer.name
        ]
        assert len(convolutions) == depth - 1

    @pytest.mark.parametrize(
        "stem,image_size,sides",
        [
            ("imagenet", 224, [112, 56, 56, 28, 14, 7]),
            ("imagenet", 45, [23, 12, 12, 6, 3, 2]),
            ("cifar", 32, [32, 32, 32, 16, 8, 4]),
        ],
    )
    def test_endpoints(self, stem, image_size, sides):
        encoder = resnet(18, 0.25, stem=stem, image_size=image_size)
        shapes = [encoder.get_layer(name).output.shape for name in ENDPOINTS]
        assert [shape[1] for shape in shapes] == sides
        assert [shape[2] for shape in shapes] == sides
        assert [shape[3] for shape in shapes] == [16, 16, 16, 32, 64, 128]

    @pytest.mark.usefixtures("unallocated")
    @pytest.mark.parametrize(
        "width,features",
        [(1 / 16, 32), (0.3, 152), (0.001, 8), (1.5, 768), (2, 1024)],
    )
    def test_width(self, width, features):
        assert tiny(width=width).output_shape == (None, features)

    def test_any_size(self):
        encoder = tiny(image_size=None)
        assert encoder.input_shape == (None, None, None, 3)
        for size in (8, 13):
            assert encoder(image_batch(size)).shape == (4, 32)


class TestSeed:
    def test_fixes_the_initial_weights(self):
        first = tiny(seed=3).get_weights()
        keras.utils.set_random_seed(1)
        for a, b in zip(first, tiny(seed=3).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.any(first[0] != tiny(seed=4).get_weights()[0])

    def test_none_follows_the_global_seed(self):
        keras.utils.set_random_seed(1)
        first = tiny().get_weights()[0]
        assert np.any(first != tiny().get_weights()[0])
        keras.utils.set_random_seed(1)
        np.testing.assert_array_equal(first, tiny().get_weights()[0])

    def test_kernels_differ(self):
        encoder = tiny(seed=3)
        kernels = [
            encoder.get_layer(f"group1_block2_conv{i}").kernel.numpy()
            for i in (1, 2)
        ]
        assert np.any(kernels[0] != kernels[1])


class TestPrecision:
    @pytest.mark.parametrize(
        "policy,build",
        [
            ("mixed_bfloat16", tiny),
            ("mixed_bfloat16", tiny_bottleneck),
            ("mixed_float16", tiny),
        ],
    )
    def test_convolutions_are_low_and_the_embedding_is_not(self, policy, build):
        exact = build(seed=1)
        keras.config.set_dtype_policy(policy)
        encoder = build(seed=1)
        assert {v.dtype for v in encoder.variables} == {"float32"}
        low = policy.removeprefix("mixed_")
        assert encoder.get_layer("group4").output.dtype == low
        images = image_batch(8, count=16)
        for training in (False, True):
            h = encoder(images, training=training)
            assert h.dtype == tf.float32
            expected = exact(images, training=training)
            assert golden.relative_to_max(h, expected) < 0.1


class TestXla:
    @pytest.mark.parametrize("build", [tiny, tiny_bottleneck])
    def test_step_compiles_to_the_same_gradients(self, build):
        encoder = build(seed=1)
        # One block that has everything; all blocks compile for a minute.
        model = keras.Model(
            encoder.get_layer("group1").output,
            encoder.get_layer("group2_block1_add").output,
        )
        maps = tf.random.stateless_normal(
            [16, 8, 8, model.input_shape[-1]], seed=[1, 2]
        )

        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(model(maps, training=True) ** 3)
            weights = [v.value for v in model.trainable_variables]
            return tape.gradient(loss, weights)

        compiled = tf.function(step, jit_compile=True)()
        for ours, expected in zip(compiled, step(), strict=True):
            scale = np.abs(expected).max()
            np.testing.assert_allclose(ours, expected, atol=1e-3 * scale + 1e-9)


class TestErrors:
    @pytest.mark.parametrize(
        "arguments,message",
        [
            (
                {"depth": 20},
                "`depth` must be one of [18, 34, 50, 101, 152, 200",
            ),
            ({"width": 0}, "`width` must be greater than 0. Received: width=0"),
            ({"sk_ratio": -1}, "`sk_ratio` must lie in [0, 1]. Received: sk"),
            ({"se_ratio": 2}, "`se_ratio` must lie in [0, 1]. Received: se_r"),
            (
                {"stem": "cfar"},
                f"`stem` must be one of {STEMS}. Received: stem",
            ),
            ({"image_size": 0}, "`image_size` must be greater than 0, or None"),
        ],
    )
    def test_name_the_argument(self, arguments, message):
        with pytest.raises(ValueError, match=re.escape(message)):
            resnet(**arguments)
