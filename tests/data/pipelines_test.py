import itertools
import time

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import augment
from simclr_keras import preprocessing
from simclr_keras.data import paths
from simclr_keras.data import pipelines
from simclr_keras.data import splits
from tests.data import scan_test

BATCH = 4


def array_split(num=10, labels=True, height=6, width=8):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num, height, width, 3), np.uint8)
    return splits.ArraySplit(images, np.arange(num) if labels else None)


@pytest.fixture(scope="module")
def image_files(tmp_path_factory):
    """The paths and sizes of ten images of different sizes."""
    folder = tmp_path_factory.mktemp("images")
    names, sizes = [], []
    for index in range(10):
        size = (1 + 3 * index, 30 - 3 * index)
        content = scan_test.png(*size, seed=index)
        scan_test.write(folder, f"{index}.png", content)
        names.append(f"{index}.png".encode())
        sizes.append(size)
    return paths.Paths(str(folder), names), np.array(sizes)


@pytest.fixture
def file_split(image_files):
    files, sizes = image_files
    return splits.FileSplit(files, np.arange(10), sizes)


def pretraining(split, **kwargs):
    settings = {"image_size": 8, "seed": 0, "num_steps": 5} | kwargs
    return pipelines.pretraining(split, BATCH, **settings)


def elements(dataset):
    return list(dataset.as_numpy_iterator())


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    for left, right in zip(actual, expected, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


class TestPretrainingFromMemory:
    def test_images_come_as_they_are_with_their_labels(self):
        split = array_split()
        for images, labels in elements(pretraining(split)):
            assert images.dtype == np.uint8
            assert labels.dtype == np.int64
            np.testing.assert_array_equal(images, split.images[labels])

    def test_without_labels_images_alone(self):
        split = array_split(labels=False)
        dataset = pretraining(split)
        assert dataset.element_spec.shape == [BATCH, 6, 8, 3]
        labelled = pretraining(array_split())
        expected = [images for images, _ in elements(labelled)]
        np.testing.assert_array_equal(elements(dataset), expected)

    def test_shapes_are_static(self):
        images, labels = pretraining(array_split()).element_spec
        assert images.shape == [BATCH, 6, 8, 3]
        assert labels.shape == [BATCH]

    def test_splits_into_replicas(self):
        strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
        dataset = pretraining(array_split())
        distributed = strategy.experimental_distribute_dataset(dataset)
        for parts, whole in zip(distributed, dataset, strict=True):
            joined = tf.concat(strategy.experimental_local_results(parts[1]), 0)
            np.testing.assert_array_equal(joined, whole[1])


class TestPretrainingFromFiles:
    def test_two_crops_of_each_image(self, file_split):
        dataset = pretraining(file_split, seed=3, num_steps=3)
        assert dataset.element_spec[0].shape == [BATCH, 2, 8, 8, 3]
        for step, (views, labels) in enumerate(elements(dataset)):
            assert views.dtype == np.float32
            for place, view in itertools.product(range(BATCH), range(2)):
                image = preprocessing.decode(
                    tf.io.read_file(file_split.paths[labels[place]])
                )
                seed = augment.fold_seed(
                    3, pipelines._HOST_CROP, step, place, view
                )
                expected = augment.host_crop(image, seed, 8)
                np.testing.assert_allclose(
                    views[place, view], expected, atol=1e-6
                )
            flat = views.reshape(BATCH * 2, -1)
            assert len(np.unique(flat, axis=0)) == BATCH * 2

    def test_one_crop_on_demand(self, file_split):
        one, two = (
            elements(pretraining(file_split, num_views=number))[0]
            for number in (1, 2)
        )
        np.testing.assert_array_equal(one[0], two[0][:, :1])
        np.testing.assert_array_equal(one[1], two[1])

    @pytest.mark.usefixtures("cheap_views")
    def test_views_of_an_image_differ_between_epochs(self, file_split):
        seen = {}
        dataset = pretraining(file_split, num_steps=8)
        for views, labels in elements(dataset):
            for pair, label in zip(views, labels, strict=True):
                seen.setdefault(int(label), []).append(pair[0].tobytes())
        assert max(map(len, seen.values())) > 2
        for crops in seen.values():
            assert len(set(crops)) == len(crops)

    def test_how_to_crop_is_passed_on(self, file_split, monkeypatch):
        asked = []

        def host_crop(image, seed, image_size, **kwargs):
            asked.append(kwargs)
            return tf.zeros([image_size, image_size, 3])

        monkeypatch.setattr(augment, "host_crop", host_crop)
        kwargs = {"crop": "torchvision", "flip_probability": 0.25}
        elements(pretraining(file_split, num_steps=1, **kwargs))
        assert asked == [kwargs] * len(asked) != []

    @pytest.mark.usefixtures("cheap_views")
    def test_without_labels_views_alone(self, file_split):
        unlabelled = splits.FileSplit(file_split.paths, None, file_split.sizes)
        expected = [views for views, _ in elements(pretraining(file_split))]
        actual = elements(pretraining(unlabelled))
        np.testing.assert_array_equal(actual, expected)


@pytest.fixture(params=["memory", "files"])
def any_split(request, file_split):
    return array_split() if request.param == "memory" else file_split


@pytest.fixture
def cheap_views(monkeypatch):
    """Views that show their seed; tracing real ones takes a second."""

    def host_crop(image, seed, image_size, **kwargs):
        value = tf.random.stateless_uniform([], seed)
        return tf.fill([image_size, image_size, 3], value)

    monkeypatch.setattr(augment, "host_crop", host_crop)
    monkeypatch.setattr(
        preprocessing,
        "decode",
        lambda image_bytes: tf.zeros([1, 1, 3], tf.uint8),
    )


@pytest.mark.usefixtures("cheap_views")
class TestOrder:
    def test_no_image_twice_in_an_epoch(self, any_split):
        dataset = pretraining(any_split, num_steps=8)
        labels = np.array([batch[1] for batch in elements(dataset)])
        for epoch in labels.reshape(4, -1):
            assert len(set(epoch)) == 8
        assert len({tuple(epoch) for epoch in labels.reshape(4, -1)}) == 4

    def test_continues_at_any_step(self, any_split):
        whole = elements(pretraining(any_split, num_steps=7))
        for first_step in (1, 4, 5):
            part = pretraining(
                any_split, first_step=first_step, num_steps=7 - first_step
            )
            assert_equal(elements(part), whole[first_step:])

    def test_is_the_same_every_time(self, any_split):
        dataset = pretraining(any_split)
        first = elements(dataset)
        assert_equal(elements(dataset), first)
        tf.random.set_seed(99)
        assert_equal(elements(pretraining(any_split)), first)

    def test_depends_on_the_seed(self, any_split):
        first, second = (
            np.concatenate([labels for _, labels in elements(dataset)])
            for dataset in (pretraining(any_split, seed=s) for s in range(2))
        )
        assert first.tolist() != second.tolist()

    @pytest.mark.parametrize("num_steps", [0, 11])
    def test_knows_its_length(self, any_split, num_steps):
        dataset = pretraining(any_split, num_steps=num_steps)
        assert dataset.cardinality() == num_steps
        assert len(elements(dataset)) == num_steps

    @pytest.mark.parametrize(
        "settings,message",
        [
            ({"num_steps": -1}, "`num_steps` must be at least 0"),
            ({"first_step": -2}, "`first_step` must be at least 0"),
        ],
    )
    def test_errors(self, any_split, settings, message):
        with pytest.raises(ValueError, match=message):
            pretraining(any_split, **settings)

    def test_batch_must_not_exceed_the_set(self, any_split):
        with pytest.raises(ValueError, match="batch_size=11 for 10 images"):
            pipelines.pretraining(
                any_split, 11, image_size=8, seed=0, num_steps=1
            )
        with pytest.raises(ValueError, match="batch_size=11 for 10 images"):
            pipelines.steps_per_epoch(any_split, 11)
        assert pipelines.steps_per_epoch(any_split, 4) == 2


class TestEvaluation:
    def test_every_image_once_in_order(self, any_split):
        batches = elements(pipelines.evaluation(any_split, 4, 8))
        assert [len(images) for images, _ in batches] == [4, 4, 2]
        labels = np.concatenate([labels for _, labels in batches])
        np.testing.assert_array_equal(labels, np.arange(10))

    @pytest.mark.parametrize("image_size", [8, 40])
    def test_is_the_preprocessing_of_serving(self, any_split, image_size):
        batches = elements(pipelines.evaluation(any_split, 4, image_size))
        images = np.concatenate([images for images, _ in batches])
        for index, image in enumerate(images):
            if any_split.in_memory:
                original = any_split.images[index]
            else:
                original = preprocessing.decode(
                    tf.io.read_file(any_split.paths[index])
                )
            expected = preprocessing.preprocess(original[None], image_size)[0]
            np.testing.assert_allclose(image, expected, atol=1e-6)

    def test_without_labels_images_alone(self, file_split):
        for split in (
            array_split(labels=False),
            splits.FileSplit(file_split.paths, None, file_split.sizes),
        ):
            dataset = pipelines.evaluation(split, 4, 8)
            assert [len(images) for images in elements(dataset)] == [4, 4, 2]

    def test_knows_its_length(self, any_split):
        assert pipelines.evaluation(any_split, 4, 8).cardinality() == 3


def slow(seconds, num=10):
    """A dataset whose elements take their time."""

    def wait(index):
        time.sleep(seconds)
        return index

    return tf.data.Dataset.range(num).map(
        lambda index: tf.ensure_shape(
            tf.numpy_function(wait, [index], tf.int64), []
        )
    )


class TestTimed:
    @pytest.mark.parametrize(
        "dataset",
        [
            tf.data.Dataset.range(5),
            tf.data.Dataset.range(5).map(lambda x: (x, {"a": -x})),
            tf.data.Dataset.range(5).batch(2).prefetch(1),
        ],
    )
    def test_elements_stay_the_same(self, dataset):
        timed = pipelines.timed(dataset, pipelines.WaitClock())
        assert timed.element_spec == dataset.element_spec
        assert timed.cardinality() == dataset.cardinality()
        tf.nest.map_structure(
            np.testing.assert_array_equal, elements(timed), elements(dataset)
        )

    def test_waiting_for_a_slow_source_is_counted(self):
        clock = pipelines.WaitClock()
        elements(pipelines.timed(slow(0.02), clock))
        # Sleeping may take longer, not shorter.
        assert clock.seconds >= 0.2

    @pytest.mark.parametrize(
        "element,step",
        [(0.01, 0.05), (0.04, 0.02), (0.02, 0.0)],
        ids=["fast", "half", "slow"],
    )
    def test_is_no_more_than_the_loop_waits(self, element, step):
        clock = pipelines.WaitClock()
        dataset = slow(element, 20).prefetch(1)
        iterator = iter(pipelines.timed(dataset, clock))
        waited = 0.0
        for _ in range(20):
            began = time.perf_counter()
            next(iterator)
            waited += time.perf_counter() - began
            time.sleep(step)
        # Behind a prefetch it would be what the source takes.
        assert clock.seconds <= waited

    def test_counts_within_a_compiled_loop(self):
        clock = pipelines.WaitClock()
        iterator = iter(pipelines.timed(slow(0.01), clock))

        @tf.function
        def steps():
            total = tf.constant(0, tf.int64)
            for _ in tf.range(5):
                total += next(iterator)
            return total

        assert steps() == 10
        assert clock.seconds >= 0.05

    def test_goes_through_a_distribution_strategy(self):
        strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
        with strategy.scope():
            clock = pipelines.WaitClock()
        dataset = slow(0.01).batch(4, drop_remainder=True)
        timed = pipelines.timed(dataset, clock)
        distributed = strategy.experimental_distribute_dataset(timed)
        assert sum(1 for _ in distributed) == 2
        assert clock.seconds >= 0.08

    def test_starts_again_at_zero(self):
        clock = pipelines.WaitClock()
        elements(pipelines.timed(tf.data.Dataset.range(3), clock))
        clock.reset()
        assert clock.seconds == 0.0


class TestDamagedFilesNamed:
    def test_a_file_damaged_inside(self, image_files, tmp_path):
        files, sizes = image_files
        names = []
        for index, path in enumerate(files):
            with open(path, "rb") as file:
                content = bytearray(file.read())
            if index == 3:
                # The end is in place, so that the scan does not suspect it.
                content[len(content) // 2] ^= 255
            (tmp_path / f"{index}.png").write_bytes(content)
            names.append(f"{index}.png".encode())
        split = splits.FileSplit(
            paths.Paths(str(tmp_path), names), np.arange(10), sizes
        )
        with (
            pytest.raises(OSError, match="damaged: .*/3.png; put whole"),
            pipelines.damaged_files_named(split),
        ):
            elements(pretraining(split))

    def test_other_errors_stay(self, file_split):
        with (
            pytest.raises(tf.errors.InvalidArgumentError),
            pipelines.damaged_files_named(file_split),
        ):
            tf.reshape(tf.zeros([3]), [2])
