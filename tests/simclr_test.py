"""The training step against Google's, and what holds for every step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import simclr_keras
from simclr_keras import heads
from simclr_keras.simclr import SimCLR
from tests import golden
from tests import google_weights
from tests import oracles


def small_encoder(size=8, features=6):
    return keras.Sequential(
        [
            keras.Input([size, size, 3]),
            keras.layers.Conv2D(features, 3, strides=2),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


def small_model(augmenter=None, **arguments):
    head = heads.projection_head(features=6, layers=2, out_dim=4, seed=0)
    model = SimCLR(small_encoder(), head, augmenter, **arguments)
    model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return model


def small_augmenter():
    """Without blur, and without XLA: both take long."""
    return simclr_keras.augmenter(image_size=8, blur=False, jit_compile=False)


def pairs(num_images=8, size=8):
    return (
        np.random.default_rng(0)
        .uniform(size=[num_images, 2, size, size, 3])
        .astype(np.float32)
    )


@pytest.fixture(scope="module")
def replay():
    recorded = golden.npz("train_curve.npz")
    settings = golden.text(recorded["settings"])
    encoder, head, _ = google_weights.models(settings)
    model = SimCLR(
        encoder,
        head,
        num_classes=settings["num_classes"],
        temperature=settings["temperature"],
    )
    variables = google_weights.assign_deterministic(
        [encoder, head, model.linear_probe],
        [str(name) for name in recorded["var_names"]],
        [str(key) for key in recorded["var_ckpt_keys"]],
    )
    model.compile(
        simclr_keras.LARS(
            settings["learning_rate_fixed"],
            weight_decay=settings["weight_decay"],
        )
    )
    return run(model, variables, recorded, settings)


def run(model, variables, recorded, settings):
    images = golden.images(recorded["images_u8"])
    images = np.stack([images[..., :3], images[..., 3:]], axis=2)
    start = {name: v.numpy() for name, v in variables.items()}
    logs, deltas, embedded, decay = [], [], {}, []
    for step in range(settings["steps"]):
        batch = step % len(images)
        kernel = model.linear_probe.trainable_variables[0].numpy()
        decay.append(settings["weight_decay"] / 2 * np.sum(kernel**2))
        model.reset_metrics()
        logs.append(
            model.train_on_batch(
                images[batch],
                recorded["labels"][batch],
                return_dict=True,
            )
        )
        deltas.append(
            [
                np.linalg.norm(v.numpy() - start[name])
                for name, v in variables.items()
            ]
        )
        if f"eval_proj_after{step + 1}" in recorded:
            views = images[0].swapaxes(0, 1).reshape(-1, *images.shape[3:])
            h = model.predict(views, verbose=0)
            embedded[step + 1] = (
                model.projection_head(h).numpy(),
                model.linear_probe(h).numpy(),
            )
    return recorded, settings, logs, decay, np.array(deltas), embedded


class TestGoogle:
    """Replays the recorded run: same weights, same views, same updates."""

    def tolerance(self, spread):
        """Ten times the recorded run's own noise; the first step is exact."""
        tolerance = np.maximum(10 * spread, 1e-5)
        tolerance[0] = 1e-5
        return tolerance

    def test_losses(self, replay):
        recorded, _, logs, decay, *_ = replay
        for ours, theirs in (
            ([2 * log["loss"] for log in logs], "contrast_loss"),
            ([log["probe_loss"] for log in logs], "supervised_loss"),
        ):
            expected = recorded[f"curve_{theirs}"]
            error = np.abs(np.array(ours) / expected - 1)
            assert np.all(error < self.tolerance(recorded[f"spread_{theirs}"]))
        np.testing.assert_allclose(
            decay, recorded["curve_weight_decay"], rtol=1e-3
        )

    def test_accuracies_and_entropy(self, replay):
        recorded, settings, logs, *_ = replay
        # One example may fall on the other side, as long as the recorded
        # run's own noise is below what moves one.
        steady = recorded["spread_contrast_loss"] < 1e-3
        one = 1 / settings["batch_size"] + 1e-6
        for ours, theirs, atol in (
            ("contrastive_accuracy", "contrast_acc", one),
            ("probe_top1", "supervised_acc", one),
            ("contrastive_entropy", "contrast_entropy", 1e-2),
        ):
            found = np.array([log[ours] for log in logs])
            expected = recorded[f"curve_{theirs}"]
            np.testing.assert_allclose(
                found[steady], expected[steady], atol=atol
            )

    def test_every_weight_moves_as_far(self, replay):
        recorded, *_, deltas, _ = replay
        expected = recorded["delta_norms"]
        error = np.abs(deltas - expected) / np.maximum(expected, 1e-12)
        error[expected == 0] = 0
        for measure, name, floor in (
            (np.median, "median", 1e-5),
            (np.max, "max", 1e-3),
        ):
            spread = recorded[f"spread_delta_norms_rel_{name}"]
            tolerance = np.maximum(10 * spread, floor)
            assert np.all(measure(error, axis=1) < tolerance)

    def test_embeddings_after_the_first_updates(self, replay):
        recorded, *_, embedded = replay
        first = min(embedded)
        projections, logits = embedded[first]
        expected = recorded[f"eval_proj_after{first}"]
        assert golden.relative_to_max(projections, expected) < 1e-4
        expected = recorded[f"eval_logits_after{first}"]
        assert golden.relative_to_max(logits, expected) < 1e-4


class TestTrainStep:
    def test_loss_is_that_of_the_algorithm(self):
        model = small_model()
        views = pairs()
        h = model.encoder(views.swapaxes(0, 1).reshape(16, 8, 8, 3))
        z = model.projection_head(h, training=True).numpy()
        log = model.train_on_batch(views, return_dict=True)
        expected = oracles.nt_xent(*np.split(z, 2), temperature=0.1)
        assert log["loss"] == pytest.approx(expected, rel=1e-5)

    def test_descends_the_sum_of_both_directions(self):
        model, twin = small_model(), small_model()
        twin.set_weights(model.get_weights())
        views = pairs()
        with tf.GradientTape() as tape:
            h = twin.encoder(views.swapaxes(0, 1).reshape(16, 8, 8, 3))
            z = tf.split(twin.projection_head(h, training=True), 2)
            loss = 2 * simclr_keras.nt_xent(*z, temperature=0.1)
        gradients = tape.gradient(loss, twin.trainable_variables)
        model.train_on_batch(views)
        for new, old, gradient in zip(
            model.trainable_variables,
            twin.trainable_variables,
            gradients,
            strict=True,
        ):
            assert golden.relative_to_max(new, old - 0.1 * gradient) < 1e-4

    def test_labels_never_reach_the_encoder(self):
        without, model, shuffled = (
            small_model(),
            small_model(num_classes=3),
            small_model(num_classes=3),
        )
        for other in (model, shuffled):
            other.encoder.set_weights(without.encoder.get_weights())
        labels = np.arange(8) % 3
        without.train_on_batch(pairs())
        model.train_on_batch(pairs(), labels)
        shuffled.train_on_batch(pairs(), labels[::-1].copy())
        for a, b, c in zip(
            without.encoder.weights,
            model.encoder.weights,
            shuffled.encoder.weights,
            strict=True,
        ):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
            np.testing.assert_array_equal(a.numpy(), c.numpy())

    def test_images_without_label_do_not_count_for_the_probe(self):
        model = small_model(num_classes=3)
        before = [w.numpy() for w in model.linear_probe.weights]
        log = model.train_on_batch(pairs(), np.full(8, -1), return_dict=True)
        assert log["probe_loss"] == 0
        for old, new in zip(before, model.linear_probe.weights, strict=True):
            np.testing.assert_array_equal(old, new.numpy())

    def test_collapse_shows_in_embedding_std(self):
        model = small_model()
        log = model.train_on_batch(pairs(), return_dict=True)
        assert log["embedding_std"] > 0.01
        model.reset_metrics()
        log = model.train_on_batch(np.ones_like(pairs()), return_dict=True)
        assert log["embedding_std"] < 1e-5
        assert log["loss"] == pytest.approx(np.log(15), rel=1e-5)

    @pytest.mark.parametrize("selector", [0, 1, -1])
    def test_probe_reads_the_selected_layer(self, selector):
        model = small_model(num_classes=3, ft_proj_selector=selector)
        width = {0: 6, 1: 6, -1: 4}[selector]
        assert model.linear_probe.input_shape == (None, width)
        model.train_on_batch(pairs(), np.arange(8) % 3)

    @pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
    def test_low_precision(self, policy):
        keras.config.set_dtype_policy(policy)
        model = small_model(small_augmenter(), num_classes=3)
        images = np.uint8(pairs()[:, 0] * 255)
        log = model.train_on_batch(images, np.arange(8) % 3, return_dict=True)
        assert np.isfinite(log["loss"])
        assert model(images).dtype == tf.float32
        assert {w.dtype for w in model.trainable_variables} == {"float32"}

    def test_compiles_with_xla(self):
        views = pairs()
        losses = []
        for jit_compile in (False, True):
            keras.utils.set_random_seed(0)
            model = small_model(
                simclr_keras.augmenter(image_size=8, jit_compile=False),
                num_classes=3,
            )
            model.compile(keras.optimizers.SGD(0.1), jit_compile=jit_compile)
            log = model.train_on_batch(
                views[:, 0], np.arange(8) % 3, return_dict=True
            )
            losses.append(log["loss"])
        assert losses[0] == pytest.approx(losses[1], rel=1e-3)


class TestViews:
    def model(self):
        return small_model(small_augmenter())

    def test_two_different_views_of_each_image(self):
        images = pairs()[:, 0]
        first, second = np.split(self.model().views(images, step=3), 2)
        assert np.all(np.abs(first - second).max(axis=(1, 2, 3)) > 0)
        assert np.all(np.abs(first - images).max(axis=(1, 2, 3)) > 0)

    def test_follow_from_seed_and_step(self):
        model, images = self.model(), pairs()[:, 0]
        views = model.views(images, step=3)
        np.testing.assert_array_equal(views, self.model().views(images, 3))
        assert np.any(views != model.views(images, step=4))
        other = small_model(model.augmenter, seed=1)
        assert np.any(views != other.views(images, step=3))

    def test_finished_crops_keep_their_places(self):
        augmenter = simclr_keras.augmenter(
            image_size=8, strength=0, blur=False, grayscale_probability=0
        )
        views = small_model(augmenter).views(pairs(), step=0)
        for view, crops in zip(tf.split(views, 2), (0, 1), strict=True):
            np.testing.assert_allclose(view, pairs()[:, crops], atol=1e-6)

    def test_uint8_and_float_images_are_alike(self):
        images = np.uint8(pairs()[:, 0] * 255)
        model = self.model()
        np.testing.assert_allclose(
            model.views(images, 0),
            model.views(images.astype(np.float32) / 255, 0),
            atol=1e-5,
        )


class TestKeras:
    def test_fit_evaluate_predict_on_a_dataset(self):
        model = small_model(small_augmenter(), num_classes=3)
        images, labels = np.uint8(pairs()[:, 0] * 255), np.arange(8) % 3
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
        history = model.fit(dataset, epochs=2, shuffle=False, verbose=0)
        assert len(history.history["loss"]) == 2
        assert history.history["learning_rate"] == pytest.approx([0.1, 0.1])
        assert "probe_top5" in model.evaluate(
            dataset, return_dict=True, verbose=0
        )
        embeddings = model.predict(images / np.float32(255), verbose=0)
        assert embeddings.shape == (8, 6)
        np.testing.assert_allclose(
            model.predict(images, verbose=0), embeddings, atol=1e-5
        )
        assert model.optimizer.iterations.numpy() == 4

    def test_the_same_images_from_anywhere(self):
        model = small_model(small_augmenter(), num_classes=3)
        images, labels = np.uint8(pairs()[:, 0] * 255), np.arange(8) % 3

        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, batch):
                rows = slice(4 * batch, 4 * batch + 4)
                return images[rows], labels[rows]

        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
        expected = model.evaluate(images, labels, batch_size=4, verbose=0)
        for data in (dataset, Batches()):
            # Sums depend on where in memory a batch begins.
            assert model.evaluate(data, verbose=0) == pytest.approx(
                expected, rel=1e-6
            )
        history = model.fit(
            Batches(), validation_data=dataset, shuffle=False, verbose=0
        ).history
        assert model.optimizer.iterations.numpy() == 2
        assert history["val_loss"] == [model.evaluate(dataset, verbose=0)[0]]

    def test_unlabelled_images(self):
        model = small_model(small_augmenter())
        dataset = tf.data.Dataset.from_tensor_slices(pairs()[:, 0]).batch(4)
        history = model.fit(dataset, shuffle=False, verbose=0).history
        assert "probe_top1" not in history

    def test_evaluate_changes_nothing_and_repeats(self):
        model = small_model(small_augmenter(), num_classes=3)
        data = pairs()[:, 0], np.arange(8) % 3
        before = [w.numpy() for w in model.weights]
        first = model.evaluate(*data, batch_size=8, verbose=0)
        assert first == model.evaluate(*data, batch_size=8, verbose=0)
        for old, new in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(old, new.numpy())

    def test_saved_model_goes_on_training_alike(self, tmp_path):
        model = small_model(small_augmenter(), num_classes=3)
        data = pairs()[:, 0], np.arange(8) % 3
        model.train_on_batch(*data)
        model.save(tmp_path / "model.keras")
        copy = keras.models.load_model(tmp_path / "model.keras")
        for m in (model, copy):
            m.reset_metrics()
            m.train_on_batch(*data)
        for ours, theirs in zip(model.weights, copy.weights, strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"temperature": 0}, "`temperature` must be greater than 0"),
            ({"num_classes": 1}, "`num_classes` must be at least 2"),
        ],
    )
    def test_ranges(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            small_model(**arguments)

    def test_encoder_must_be_flat(self):
        encoder = keras.Sequential([keras.Input([8, 8, 3])])
        with pytest.raises(ValueError, match="flat output"):
            SimCLR(encoder, heads.projection_head(features=3))

    def test_head_must_fit(self):
        with pytest.raises(ValueError, match="as many features"):
            SimCLR(small_encoder(), heads.projection_head(features=7))

    def test_finished_views_without_augmenter(self):
        with pytest.raises(ValueError, match=r"\[B, 2, S, S, 3\]"):
            small_model().views(pairs()[:, 0], step=0)

    def test_sample_weights(self):
        with pytest.raises(ValueError, match="without sample weights"):
            small_model(num_classes=3).train_on_batch(
                pairs(), np.arange(8) % 3, np.ones(8)
            )

    def test_labels_out_of_range(self):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="less than `num_classes`, 3"
        ):
            small_model(num_classes=3).train_on_batch(pairs(), np.arange(8))

    def test_one_hot_labels(self):
        with pytest.raises(ValueError, match="must be integers"):
            small_model(num_classes=3).train_on_batch(pairs(), np.eye(8, 3))
