"""What a run keeps for its report, against other routes to the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import data
from simclr_keras.data import pipelines
from simclr_keras.data import sampling
from simclr_keras.evaluation import sphere
from simclr_keras.report import measures
from simclr_keras.report import recording
from tests import small_run

SIZE = small_run.SIZE


class _Probe:
    def logits(self, x):
        return x[:, :3]


@pytest.fixture(scope="module")
def source():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [40, SIZE, SIZE, 3], np.uint8)
    labels = np.arange(40) % 3
    return data.from_arrays(images, labels, images[::2], labels[::2])


@pytest.fixture(scope="module")
def kept(source, tmp_path_factory):
    """The model, and what is in the two files."""
    folder = tmp_path_factory.mktemp("run")
    model = small_run.model()
    before = small_run.weights(model)
    batch = source.pretrain.images[:20]
    recording.samples(folder, model, source, batch, 5)
    recording.embeddings(
        folder, model, source, _Probe(), batch_size=7, image_size=SIZE
    )
    for old, new in zip(before, small_run.weights(model), strict=True):
        np.testing.assert_array_equal(old, new)
    with np.load(folder / "samples.npz") as samples:
        with np.load(folder / "embeddings.npz") as embeddings:
            return folder, model, dict(samples), dict(embeddings)


def test_pairs_are_the_views_of_training(kept, source):
    _, model, samples, _ = kept
    views = model.views(source.pretrain.images[:12], 5)
    first = np.asarray(views)[:12]
    np.testing.assert_allclose(samples["pairs"][:, 0] / 255, first, atol=0.003)
    np.testing.assert_array_equal(
        samples["originals"], source.pretrain.images[:12]
    )


def test_samples_are_spread_over_the_images(kept, source):
    _, _, samples, _ = kept
    places = sampling.spread(40, 24)
    assert places[0] == 0 and places[-1] == 39 and len(set(places)) == 24
    np.testing.assert_array_equal(samples["labels"], places % 3)


def test_pairs_are_in_tensorboard(kept):
    (events,) = (kept[0] / "tensorboard").iterdir()
    tags = [
        value.tag
        for record in tf.data.TFRecordDataset(str(events))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
    ]
    assert tags == ["augmented_pairs"]


def test_embeddings_are_those_of_the_test_images(kept, source):
    _, model, _, embeddings = kept
    images = keras.ops.convert_to_tensor(source.test.images / np.float32(255))
    x = np.asarray(model.encoder(images, training=False))
    np.testing.assert_allclose(embeddings["embeddings"], x, rtol=2e-3)
    np.testing.assert_array_equal(embeddings["labels"], source.test.labels)
    assert embeddings["of"] == "test"
    np.testing.assert_array_equal(
        embeddings["confusion"],
        measures.confusion(source.test.labels, x[:, :3].argmax(axis=1), 3),
    )


def test_pictures_are_of_the_images_they_name(kept, source):
    _, _, _, embeddings = kept
    np.testing.assert_array_equal(
        embeddings["pictures"], source.test.images[embeddings["shown"]]
    )
    needed = {*embeddings["queries"], *embeddings["neighbours"].ravel()}
    assert needed <= set(embeddings["shown"])


def test_alignment_and_uniformity_are_of_two_views(kept, source):
    _, model, _, embeddings = kept
    images = source.test.images / np.float32(255)
    for name, value in sphere.run(model, images).items():
        assert embeddings[name] == pytest.approx(value, rel=1e-3)


def test_samples_are_kept_once(kept, source):
    folder, model, _, _ = kept
    before = (folder / "samples.npz").read_bytes()
    batch = source.pretrain.images[20:]
    recording.samples(folder, model, source, batch, 9)
    assert (folder / "samples.npz").read_bytes() == before


def test_unlabelled_images_cropped_beforehand(tmp_path, source):
    unlabelled = data.from_arrays(source.pretrain.images)
    model = small_run.model()
    batch = np.random.default_rng(0).random([4, 2, SIZE, SIZE, 3], np.float32)
    recording.samples(tmp_path, model, unlabelled, batch, 0)
    recording.embeddings(
        tmp_path, model, unlabelled, None, batch_size=16, image_size=SIZE
    )
    with np.load(tmp_path / "samples.npz") as samples:
        assert set(samples) == {"images", "pairs"}
    with np.load(tmp_path / "embeddings.npz") as embeddings:
        assert embeddings["of"] == "pretraining"
        assert "labels" not in embeddings and "confusion" not in embeddings


def test_rows_are_those_of_the_places(source):
    dataset = pipelines.evaluation(source.test, 6, SIZE)
    rows = recording._rows(dataset, np.array([0, 5, 6, 19]))
    np.testing.assert_array_equal(rows, source.test.images[[0, 5, 6, 19]])


def test_pictures_are_small():
    images = np.zeros([2, 100, 50, 3], np.uint8)
    assert recording.pictures(images).shape == (2, 64, 32, 3)
