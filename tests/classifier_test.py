"""Training with labels against Google's, and what stays as it is."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
from simclr_keras import heads
from simclr_keras import optimizers
from simclr_keras.classifier import Classifier
from tests import golden
from tests import google_weights

CURVES = (
    "finetune_curve_all_momentum.npz",
    "finetune_curve_block2_lars.npz",
)
# One step later the momentum curve's own noise is a percent.
MOST_STEPS = 4


def small_parts(depth=18):
    encoder = simclr_keras.resnet(
        depth, 0.0625, stem="cifar", image_size=8, seed=0
    )
    head = simclr_keras.projection_head(encoder.output_shape[-1], 3, 6, seed=0)
    return encoder, head


def foreign_encoder():
    return keras.Sequential(
        [
            keras.Input([8, 8, 3]),
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def small(**arguments):
    encoder, head = small_parts()
    model = Classifier(encoder, 3, projection_head=head, **arguments)
    model.compile(keras.optimizers.SGD(0.5), run_eagerly=True)
    return model


def batch(num=12):
    rng = np.random.default_rng(0)
    images = rng.uniform(size=[num, 8, 8, 3]).astype(np.float32)
    return images, np.arange(num) % 3


def changed(weights, before):
    return {
        w.path
        for w, old in zip(weights, before, strict=True)
        if not np.array_equal(w.numpy(), old)
    }


def google_model(settings):
    """A model of Google's settings, and what `google_weights` fills."""
    encoder, head, _ = google_weights.models(settings)
    model = Classifier(
        encoder,
        settings["num_classes"],
        projection_head=head,
        ft_proj_selector=settings.get("ft_proj_selector", 0),
        fine_tune_after_block=settings.get("fine_tune_after_block", -1),
        move_frozen_statistics=True,
    )
    probe = keras.Sequential([model.classifier.layers[-1]])
    return model, (encoder, head, probe)


@pytest.fixture(scope="module", params=CURVES)
def replay(request):
    recorded = golden.npz(request.param)
    settings = golden.text(recorded["settings"])
    model, parts = google_model(settings)
    variables = google_weights.assign_deterministic(
        parts,
        [str(name) for name in recorded["var_names"]],
        [str(key) for key in recorded["var_ckpt_keys"]],
    )
    model.compile(
        optimizers.optimizer(
            settings["optimizer"],
            settings["learning_rate_fixed"],
            weight_decay=settings["weight_decay"],
        )
    )
    return recorded, *run(model, variables, recorded)


def run(model, variables, recorded):
    # Google's code also runs the layers of the head that nothing reads.
    used = {weight.path for weight in model.weights}
    columns = [i for i, v in enumerate(variables.values()) if v.path in used]
    used = [list(variables.values())[i] for i in columns]
    images = golden.images(recorded["images_u8"])
    start = [v.numpy() for v in used]
    losses, deltas, logits = [], [], {}
    for step in range(min(MOST_STEPS, len(recorded["delta_norms"]))):
        model.reset_metrics()
        log = model.train_on_batch(
            images[step % len(images)],
            recorded["labels"][step % len(images)],
            return_dict=True,
        )
        losses.append(log["loss"])
        deltas.append(
            [
                np.linalg.norm(v.numpy() - old)
                for v, old in zip(used, start, strict=True)
            ]
        )
        if f"eval_logits_after{step + 1}" in recorded:
            logits[step + 1] = model(images[0]).numpy()
    expected = recorded["delta_norms"][:, columns]
    return np.array(losses), np.array(deltas), expected, logits


class TestGoogle:
    """Replays the first steps of the recorded runs."""

    def tolerance(self, spread, floor):
        """Ten times the recorded run's own noise.

        It grows up to 50-fold from one step to the next, and where one value
        falls on the other side of a ReLU in the first step, as it does here,
        a run is ahead in that.
        """
        ahead = np.append(spread[1:], spread[-1])
        return np.maximum(10 * np.maximum(spread, ahead), floor)

    def test_losses(self, replay):
        recorded, losses, *_ = replay
        expected = recorded["curve_supervised_loss"][: len(losses)]
        spread = recorded["spread_supervised_loss"]
        error = np.abs(losses / expected - 1)
        assert np.all(error < self.tolerance(spread, 1e-5)[: len(losses)])
        assert error[0] < 1e-5

    def test_every_weight_moves_as_far(self, replay):
        recorded, _, deltas, expected, _ = replay
        expected = expected[: len(deltas)]
        error = np.abs(deltas - expected) / np.maximum(expected, 1e-12)
        error[(expected == 0) & (deltas == 0)] = 0
        for measure, name, floor in (
            (np.median, "median", 1e-5),
            (np.max, "max", 1e-3),
        ):
            spread = recorded[f"spread_delta_norms_rel_{name}"]
            tolerance = self.tolerance(spread, floor)[: len(deltas)]
            assert np.all(measure(error, axis=1) < tolerance)

    def test_logits_after_the_first_step(self, replay):
        recorded, *_, logits = replay
        first = min(logits)
        expected = recorded[f"eval_logits_after{first}"]
        assert golden.relative_to_max(logits[first], expected) < 1e-3


@pytest.mark.parametrize(
    "record",
    golden.load_json("finetune_trainable.json"),
    ids=lambda r: f"{r['fine_tune_after_block']},{r['ft_proj_selector']}",
)
def test_trains_what_google_trains(record, parts_and_paths):
    (encoder, head), paths = parts_and_paths(record["resnet_depth"])
    model = Classifier(
        encoder,
        10,
        projection_head=head,
        ft_proj_selector=record["ft_proj_selector"],
        fine_tune_after_block=record["fine_tune_after_block"],
    )
    # Google's code lets the other layers of the head train without gradient.
    without = record["trainable_without_supervised_gradient"]
    expected = {paths[n] for n in record["trainable"] if n not in without}
    assert {v.path for v in model.trainable_variables} == expected


@pytest.fixture(scope="module")
def parts_and_paths():
    """Depth -> encoder and head, and Google's variable names -> our paths."""

    @functools.cache
    def of(depth):
        variables = next(
            model["variables"]
            for model in golden.load_json("variables.json")["models"].values()
            if model["settings"] == {"resnet_depth": depth}
        )
        paths = google_weights.variable_paths([v[3] for v in variables])
        return small_parts(depth), {v[0]: paths[v[3]] for v in variables}

    def fresh(depth):
        (encoder, head), paths = of(depth)
        for layer in encoder.layers:
            layer.trainable = True
        return (encoder, head), paths

    return fresh


class TestFrozen:
    @pytest.mark.parametrize("after", [0, 2, 4])
    def test_weights_and_statistics_stay(self, after):
        model = small(fine_tune_after_block=after)
        before = [w.numpy() for w in model.weights]
        frozen = {w.path for w in model.frozen_weights}
        model.train_on_batch(*batch())
        moved = changed(model.weights, before)
        assert not moved & frozen
        assert {"linear_probe/kernel", "linear_probe/bias"} <= moved
        assert ("stem_conv/kernel" in frozen) and (
            ("group3_block1_conv1/kernel" in frozen) == (after == 4)
        )

    def test_frozen_parts_run_as_in_inference(self):
        model = small(fine_tune_after_block=4)
        images, labels = batch()
        log = model.train_on_batch(images, labels, return_dict=True)
        twin = small(fine_tune_after_block=4)
        expected = keras.losses.sparse_categorical_crossentropy(
            labels, twin(images), from_logits=True
        )
        assert log["loss"] == pytest.approx(np.mean(expected), rel=1e-5)

    def test_statistics_move_on_demand_and_weights_do_not(self):
        model = small(fine_tune_after_block=2, move_frozen_statistics=True)
        before = [w.numpy() for w in model.weights]
        model.train_on_batch(*batch())
        moved = changed(model.weights, before) & {
            w.path for w in model.frozen_weights
        }
        assert "stem_bn/moving_mean" in moved
        assert all("/moving_" in path for path in moved)


class TestParts:
    def test_other_layers_of_the_head_are_left_out(self):
        model = small(ft_proj_selector=1)
        assert "projection1_dense/kernel" in {w.path for w in model.weights}
        assert not any("projection2" in w.path for w in model.weights)

    def test_classifier_and_encoder_are_the_model(self):
        model = small(ft_proj_selector=-1)
        images, _ = batch()
        expected = model.classifier(model.encoder(images))
        np.testing.assert_array_equal(model(images), expected)

    def test_classifier_at_zero(self):
        model = small(zero_init_logits_layer=True)
        assert not np.any(model(batch()[0]))
        assert np.any(small()(batch()[0]))

    def test_crops_follow_from_seed_and_step(self):
        augmenter = simclr_keras.augmenter(
            8,
            blur=False,
            jitter_probability=0.0,
            grayscale_probability=0.0,
            jit_compile=False,
        )
        images = tf.constant(batch()[0])
        one, same, other = (
            Classifier(foreign_encoder(), 3, augmenter=augmenter, seed=seed)
            for seed in (0, 0, 1)
        )
        for model in (one, same, other):
            model.compile(keras.optimizers.SGD(0.1))
        view = one._views(images)
        np.testing.assert_array_equal(view, same._views(images))
        assert np.any(view != other._views(images))
        one.optimizer.iterations.assign(1)
        assert np.any(view != one._views(images))


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"ft_proj_selector": 4}, "from -1 to 3.*=4"),
            ({"fine_tune_after_block": 5}, "`fine_tune_after_block`.*=5"),
        ],
    )
    def test_numbers_out_of_range(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            small(**arguments)

    def test_a_head_is_needed_for_its_layers(self):
        with pytest.raises(ValueError, match="`projection_head` must be given"):
            Classifier(small_parts()[0], 3, ft_proj_selector=1)

    def test_head_of_another_width(self):
        head = heads.projection_head(7)
        with pytest.raises(ValueError, match="Received: 7 and 32"):
            Classifier(
                small_parts()[0], 3, projection_head=head, ft_proj_selector=1
            )

    def test_blocks_of_an_encoder_without_blocks(self):
        with pytest.raises(ValueError, match="a layer named first"):
            Classifier(foreign_encoder(), 3, fine_tune_after_block=2)
        Classifier(foreign_encoder(), 3, fine_tune_after_block=4)
