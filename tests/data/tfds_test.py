import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from simclr_keras import data
from simclr_keras.data import order
from simclr_keras.data import pipelines
from simclr_keras.data import records
from simclr_keras.data import splits

NUM_CLASSES = 3


def pixels(split, index, height=8, width=6):
    rng = np.random.default_rng([len(split), index])
    return rng.integers(0, 256, (height, width, 3), np.uint8)


class _Tiny(tfds.core.GeneratorBasedBuilder):
    """Shared by the data sets below; the index of an image is its identity."""

    VERSION = tfds.core.Version("1.0.0")
    COUNTS = {}
    FEATURES = {}
    pkg_dir_path = None

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(self.FEATURES),
            supervised_keys=("image", "label")
            if "label" in self.FEATURES
            else None,
        )

    def _split_generators(self, download_manager):
        return {
            name: self._generate_examples(name, count)
            for name, count in self.COUNTS.items()
        }

    def _generate_examples(self, split, count):
        for index in range(count):
            yield index, self.example(split, index)

    def example(self, split, index):
        labelled = "unlabelled" not in split
        return {
            "image": pixels(split, index),
            "label": index % NUM_CLASSES if labelled else -1,
            "index": index,
        }


FIXED = {
    "image": tfds.features.Image(shape=(8, 6, 3)),
    "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
    "index": np.int64,
}
VARIABLE = FIXED | {"image": tfds.features.Image(shape=(None, None, 3))}


class TinyStl(_Tiny):
    COUNTS = {"train": 12, "test": 6, "unlabelled": 9}
    FEATURES = FIXED


class TinyTrainOnly(_Tiny):
    COUNTS = {"train": 20}
    FEATURES = FIXED


class TinyPhotos(_Tiny):
    COUNTS = {"train": 23, "validation": 4, "test": 3}
    FEATURES = VARIABLE

    def example(self, split, index):
        example = super().example(split, index)
        example["image"] = pixels(split, index, 8 + index, 6)
        if split == "test":
            example["label"] = -1
        return example


class TinyGrey(_Tiny):
    COUNTS = {"train": 5}
    FEATURES = {"image": tfds.features.Image(shape=(8, 6, 1))}

    def example(self, split, index):
        return {"image": pixels(split, index)[..., :1]}


class TinySound(_Tiny):
    COUNTS = {"train": 1}
    FEATURES = {"wave": tfds.features.Tensor(shape=(3,), dtype=np.float32)}


class TinyPairs(_Tiny):
    COUNTS = {"train": 1}
    FEATURES = {
        "left": tfds.features.Image(shape=(8, 6, 3)),
        "right": tfds.features.Image(shape=(8, 6, 3)),
    }


class TinyDepth(_Tiny):
    COUNTS = {"train": 1}
    FEATURES = {"image": tfds.features.Image(shape=(8, 6, 1), dtype=np.uint16)}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("data_dir"))
    config = tfds.download.DownloadConfig(num_shards=3)
    for name in ("tiny_stl", "tiny_train_only", "tiny_photos", "tiny_grey"):
        builder = tfds.builder(name, data_dir=folder)
        builder.download_and_prepare(download_config=config)
    return folder


def by_index(split_name, images):
    """The numbers of the images, found by comparing pixels."""
    known = {pixels(split_name, index).tobytes(): index for index in range(30)}
    return [known[np.ascontiguousarray(image).tobytes()] for image in images]


class TestWhole:
    def test_every_split_and_the_files_in_it(self, data_dir):
        source = data.open_source("tiny_stl", data_dir=data_dir, whole=True)
        counts = {k: v.num_examples for k, v in source.named.items()}
        assert counts == TinyStl.COUNTS
        assert source.num_classes == NUM_CLASSES
        assert not source.named["unlabelled"].has_labels
        split = source.named["test"]
        key = next(iter(split.keys_in_order()))
        content, label = split.encoded(key)
        image, same_label = split.read(key)
        decoded = tf.io.decode_image(content)
        np.testing.assert_array_equal(decoded, image)
        assert label == same_label


class TestFixedSize:
    def test_unlabelled_images_are_pretrained_on(self, data_dir):
        source = data.open_source("tiny_stl", data_dir=data_dir)
        assert source.pretrain.num_examples == 9
        assert source.pretrain.labels is None
        found = by_index("unlabelled", source.pretrain.images)
        assert sorted(found) == list(range(9))
        assert source.num_classes == NUM_CLASSES
        assert source.class_names == ("a", "b", "c")
        assert source.image_size == 6

    def test_images_keep_their_labels(self, data_dir):
        source = data.open_source("tiny_stl", data_dir=data_dir)
        for name, split, count in (
            ("train", source.train, 12),
            ("test", source.test, 6),
        ):
            assert split.in_memory
            found = by_index(name, split.images)
            assert sorted(found) == list(range(count))
            np.testing.assert_array_equal(
                split.labels, np.array(found) % NUM_CLASSES
            )

    def test_labels_can_be_asked_for_first(self, data_dir):
        source = data.open_source("tiny_stl", data_dir=data_dir)
        assert len(source.test.labels) == 6

    def test_nothing_is_read_to_know_the_smallest_class(
        self, data_dir, monkeypatch
    ):
        source = data.open_source("tiny_stl", data_dir=data_dir)
        with monkeypatch.context() as patched:
            patched.setattr(splits.StreamedSplit, "_load", None)
            assert source.smallest_class is None
        assert len(source.train.labels) == 12
        assert source.smallest_class == 4

    def test_asked_for_splits(self, data_dir):
        source = data.open_source(
            "tiny_stl",
            data_dir=data_dir,
            train_split="train[:50%]",
            eval_split="train[50%:]",
        )
        assert source.pretrain is source.train
        numbers = by_index("train", source.train.images)
        others = by_index("train", source.test.images)
        assert len(numbers) == len(others) == 6
        assert not set(numbers) & set(others)

    def test_sums_of_splits(self, data_dir):
        source = data.open_source(
            "tiny_stl", data_dir=data_dir, train_split="unlabelled+train"
        )
        assert source.pretrain.num_examples == 21
        assert (source.pretrain.labels < 0).sum() == 9
        assert source.train.num_examples == 12

    def test_without_a_test_split_a_fifth_is_cut_off(self, data_dir):
        source = data.open_source("tiny_train_only", data_dir=data_dir)
        assert source.pretrain is source.train
        numbers = by_index("train", source.train.images)
        numbers += by_index("train", source.test.images)
        assert sorted(numbers) == list(range(20))
        assert source.test.num_examples == 4
        assert "train[80%:] is put aside" in data.describe(source)

    def test_grey_images_without_labels(self, data_dir):
        source = data.open_source("tiny_grey", data_dir=data_dir)
        assert source.train is None and source.num_classes is None
        images = source.pretrain.images
        assert images.shape == (5, 8, 6, 3)
        assert (images == images[..., :1]).all()

    def test_versions_and_fingerprints(self, data_dir):
        plain = data.open_source("tiny_stl", data_dir=data_dir)
        exact = data.open_source("tiny_stl:1.*.*", data_dir=data_dir)
        part = data.open_source(
            "tiny_stl", data_dir=data_dir, train_split="train"
        )
        assert plain.fingerprint == exact.fingerprint != part.fingerprint

    def test_describes_itself(self, data_dir):
        source = data.open_source("tiny_stl", data_dir=data_dir)
        assert data.describe(source).splitlines() == [
            f"tiny_stl: TensorFlow data set in {data_dir}/tiny_stl/1.0.0",
            "  pretraining: 9 images, 6 x 8, held in memory",
            "  classes: 3 (a, b, c)",
            "  evaluation: 12 labelled images to train on, 6 to test on",
        ]


@pytest.fixture
def photos(data_dir, monkeypatch):
    """Streamed; windows smaller than the set, so that several are needed."""
    monkeypatch.setattr(records, "_SHUFFLE_WINDOW", 7)
    return data.open_source("tiny_photos", data_dir=data_dir)


def keys(split, first_step=0, num_steps=10, seed=0):
    dataset = split.keys(
        5, seed=seed, first_step=first_step, num_steps=num_steps
    )
    found = [
        tf.train.Example.FromString(key)
        .features.feature["index"]
        .int64_list.value[0]
        for key in dataset.as_numpy_iterator()
    ]
    return np.array(found).reshape(-1, 5)


class TestStreamed:
    def test_tests_on_a_split_with_labels(self, photos):
        assert photos.test.num_examples == 4
        assert photos.sizes == "of any size"
        assert photos.image_size is None
        assert not photos.pretrain.in_memory
        assert photos.pretrain.has_labels

    def test_no_image_twice_in_an_epoch(self, photos):
        # 23 images, batches of 5: epochs of 4 steps.
        epochs = keys(photos.pretrain, num_steps=12).reshape(3, 20)
        for epoch in epochs:
            assert len(set(epoch)) == 20
        assert len({tuple(epoch) for epoch in epochs}) == 3

    def test_shuffles_beyond_windows_and_files(self, photos):
        first = keys(photos.pretrain, num_steps=40).reshape(10, 20)[:, 0]
        # Windows hold 7 images, files about 8.
        assert len(set(first)) > 4
        assert max(first) - min(first) > 8

    def test_files_are_read_in_another_order_each_epoch(
        self, photos, monkeypatch
    ):
        monkeypatch.setattr(records, "_FILES_AT_ONCE", 1)
        monkeypatch.setattr(records, "_SHUFFLE_WINDOW", 1)
        first = keys(photos.pretrain, num_steps=40).reshape(10, 20)[:, 0]
        assert len(set(first)) == 3

    @pytest.mark.parametrize("first_step", [1, 6])
    def test_continues_at_any_step(self, photos, first_step):
        whole = keys(photos.pretrain)
        part = keys(photos.pretrain, first_step, 10 - first_step)
        np.testing.assert_array_equal(part, whole[first_step:])

    def test_depends_on_the_seed(self, photos):
        # Of seven seeds two put the three files in the same order.
        files, same = {}, None
        for seed in range(7):
            of_files = tuple(order.permutation(3, seed, 0).numpy())
            same = same or (of_files in files and (files[of_files], seed))
            files[of_files] = seed
        for seeds in ((0, 1), same):
            first, second = (
                keys(photos.pretrain, seed=seed, num_steps=1) for seed in seeds
            )
            assert first.tolist() != second.tolist()

    def test_feeds_the_pipelines(self, photos):
        dataset = pipelines.pretraining(
            photos.pretrain, 5, image_size=8, seed=0, first_step=3, num_steps=4
        )
        assert dataset.cardinality() == 4
        expected = keys(photos.pretrain, 3, 4)
        for (views, labels), numbers in zip(dataset, expected, strict=True):
            assert views.shape == (5, 2, 8, 8, 3)
            np.testing.assert_array_equal(labels, numbers % NUM_CLASSES)
        batches = pipelines.evaluation(photos.test, 3, 8)
        assert [len(images) for images, _ in batches] == [3, 1]

    def test_slices(self, data_dir):
        source = data.open_source(
            "tiny_photos", data_dir=data_dir, train_split="train[3:19]"
        )
        numbers = keys(source.pretrain, num_steps=3)
        assert source.pretrain.num_examples == 16
        assert len(set(numbers.ravel())) == 15


class TestMemoryLimit:
    def test_large_sets_are_streamed(self, data_dir, monkeypatch):
        monkeypatch.setattr(splits, "MEMORY_LIMIT", 9 * 8 * 6 * 3 - 1)
        source = data.open_source("tiny_stl", data_dir=data_dir)
        assert not source.pretrain.in_memory
        assert source.test.in_memory
        assert source.train.labels is None and source.train.has_labels


class TestErrors:
    def open(self, name, folder, **kwargs):
        return data.open_source(name, data_dir=str(folder), **kwargs)

    def test_not_prepared(self, tmp_path):
        (tmp_path / "mnist").mkdir()
        with pytest.raises(ValueError, match="must be prepared") as error:
            self.open("cifar10", tmp_path)
        message = str(error.value)
        for part in (
            str(tmp_path),
            "there is mnist",
            "--download",
            "download_and_prepare()",
            "manual_dir",
        ):
            assert part in message

    def test_half_prepared(self, tmp_path):
        (tmp_path / "cifar10/3.0.2.incompleteABC").mkdir(parents=True)
        (tmp_path / "cifar10/3.0.2").mkdir(parents=True)
        with pytest.raises(ValueError, match="must be prepared"):
            self.open("cifar10", tmp_path)

    def test_archives_to_be_fetched_by_hand(self, tmp_path):
        with pytest.raises(ValueError, match="ILSVRC2012_img_train.tar"):
            self.open("imagenet2012", tmp_path)

    def test_without_asking_nothing_is_downloaded(self, tmp_path, monkeypatch):
        def download_and_prepare(self, **kwargs):
            raise AssertionError("must not be called")

        monkeypatch.setattr(
            tfds.core.DatasetBuilder,
            "download_and_prepare",
            download_and_prepare,
        )
        with pytest.raises(ValueError, match="must be prepared"):
            self.open("mnist", tmp_path)

    def test_download_prepares(self, tmp_path):
        source = self.open("tiny_grey", tmp_path, download=True)
        assert source.pretrain.num_examples == 5
        assert self.open("tiny_grey", tmp_path).pretrain.num_examples == 5

    def test_download_fails(self, tmp_path, monkeypatch):
        def download_and_prepare(self, **kwargs):
            raise ConnectionError("no route to host")

        monkeypatch.setattr(
            tfds.core.DatasetBuilder,
            "download_and_prepare",
            download_and_prepare,
        )
        with pytest.raises(RuntimeError, match="no route.*must be prepared"):
            self.open("mnist", tmp_path, download=True)

    @pytest.mark.parametrize(
        "name,message",
        [
            ("cifar11", "nearest: .*cifar10.*dataset='cifar11'"),
            ("qqqqqqqq", "a name of TensorFlow Datasets. Received"),
            ("cifar10/nothing", "config and a version.*cifar10/nothing"),
            ("cifar10:9.9.9", "config and a version.*9.9.9"),
            ("imagenet2012_subset/2pct", "configs are 1pct, 10pct"),
            ("imdb_reviews", r"one image.*text \(Text\), label"),
            ("tiny_sound", r"one image.*wave \(Tensor\)"),
            ("tiny_pairs", "one image.*left.*right"),
            ("tiny_depth", "8 bits with 1, 3 or 4 channels.*uint16"),
        ],
    )
    def test_names(self, tmp_path, name, message):
        with pytest.raises(ValueError, match=message):
            self.open(name, tmp_path)

    @pytest.mark.parametrize(
        "split", ["dev", "train[", "train[:0]", "train+dev", "train[:200%]"]
    )
    @pytest.mark.parametrize("argument", ["train_split", "eval_split"])
    def test_splits(self, data_dir, argument, split):
        with pytest.raises(ValueError, match=f"`{argument}` must be one of"):
            self.open("tiny_stl", data_dir, **{argument: split})

    def test_eval_split_without_labels(self, data_dir):
        with pytest.raises(ValueError, match='"unlabelled" has no labels'):
            self.open("tiny_stl", data_dir, eval_split="unlabelled")

    def test_other_file_formats(self, tmp_path):
        builder = tfds.builder(
            "tiny_grey", data_dir=str(tmp_path), file_format="array_record"
        )
        builder.download_and_prepare()
        with pytest.raises(ValueError, match="file_format=tfrecord.*array_rec"):
            self.open("tiny_grey", tmp_path)
