import numpy as np
import pytest

from simclr_keras import data
from simclr_keras.data import source
from simclr_keras.data import splits


def split(num, labels=None):
    images = np.zeros((num, 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(num)
    labels = None if labels is None else np.asarray(labels, np.int64)
    return splits.ArraySplit(images, labels)


def numbers(part):
    return part.images[:, 0, 0, 0].tolist()


class TestSplitNames:
    # Upper case: a split whose images have labels.
    @pytest.mark.parametrize(
        "available,asked,expected",
        [
            ("TRAIN TEST", {}, ("train", "train", "test")),
            ("TRAIN VALIDATION", {}, ("train", "train", "validation")),
            ("TRAIN VALIDATION TEST", {}, ("train", "train", "test")),
            # ImageNet: nobody has the labels of its test split.
            ("TRAIN VALIDATION test", {}, ("train", "train", "validation")),
            # STL-10.
            ("TRAIN TEST unlabelled", {}, ("unlabelled", "train", "test")),
            ("train test", {}, ("train", None, None)),
            ("train TEST", {}, ("train", None, None)),
            ("TRAIN", {}, ("train", "train", None)),
            ("TRAIN test", {}, ("train", "train", None)),
            (
                "TRAIN TEST VALIDATION",
                {"eval_split": "validation"},
                ("train", "train", "validation"),
            ),
            (
                "TRAIN TEST unlabelled",
                {"train_split": "train"},
                ("train", "train", "test"),
            ),
            (
                "TRAIN EXTRA TEST",
                {"train_split": "extra"},
                ("extra", "extra", "test"),
            ),
        ],
    )
    def test_choices(self, available, asked, expected):
        labelled = {name.lower(): name.isupper() for name in available.split()}
        names = source.split_names(list(labelled), labelled.get, **asked)
        assert names == expected

    @pytest.mark.parametrize(
        "available,asked,message",
        [
            ("A B", {}, "`train_split` must be given.*splits a, b"),
            ("TRAIN test", {"eval_split": "test"}, '"test" has no labels'),
            ("train TEST", {"eval_split": "test"}, '"train" has no labels'),
            ("TRAIN TEST", {"eval_split": "train"}, "what is trained on"),
            (
                "TRAIN TEST",
                {"train_split": "test", "eval_split": "test"},
                "what is trained on",
            ),
        ],
    )
    def test_errors(self, available, asked, message):
        labelled = {name.lower(): name.isupper() for name in available.split()}
        with pytest.raises(ValueError, match=message):
            source.split_names(list(labelled), labelled.get, **asked)

    def test_test_split_as_train_split_is_not_tested_on(self):
        names = source.split_names(
            ["train", "test"], lambda name: True, train_split="test"
        )
        assert names == ("test", "test", None)


class TestAssemble:
    def test_puts_a_part_of_each_class_aside(self):
        labels = np.repeat([0, 1, 2], [10, 20, 5])
        parts = source.assemble({"train": split(35, labels)}, seed=1)
        np.testing.assert_array_equal(
            np.bincount(parts["test"].labels), [2, 4, 1]
        )
        assert parts["train"] is parts["pretrain"]
        seen = numbers(parts["pretrain"]) + numbers(parts["test"])
        assert sorted(seen) == list(range(35))
        np.testing.assert_array_equal(
            labels[numbers(parts["test"])], parts["test"].labels
        )

    def test_what_is_put_aside_depends_on_the_seed_alone(self):
        named = {"train": split(60, np.arange(60) % 3)}
        first, again, other = (
            numbers(source.assemble(named, seed=seed)["test"])
            for seed in (0, 0, 1)
        )
        assert first == again
        assert first != other

    def test_nothing_is_put_aside_without_labels(self):
        parts = source.assemble({"train": split(5)})
        assert parts["pretrain"].num_examples == 5
        assert parts["train"] is None and parts["test"] is None

    def test_one_image_in_each_class(self):
        parts = source.assemble({"train": split(3, [0, 1, 2])})
        assert parts["train"].num_examples == 3
        assert parts["test"] is None
        assert "one image in each class" in parts["notes"][0]

    def test_images_without_a_label_are_only_pretrained_on(self):
        labels = [0, 0, -1, 1, 1, -1]
        parts = source.assemble({"train": split(6, labels)})
        assert parts["test"].num_examples == 2
        assert parts["pretrain"].num_examples == 4
        assert set(numbers(parts["pretrain"])) >= {2, 5}
        assert (parts["train"].labels >= 0).all()
        assert parts["train"].num_examples == 2

    def test_unlabelled_split_is_pretrained_on_whole(self):
        parts = source.assemble(
            {"unlabelled": split(4), "train": split(10, [0] * 5 + [1] * 5)}
        )
        assert numbers(parts["pretrain"]) == [0, 1, 2, 3]
        assert parts["train"].num_examples == 8
        assert parts["test"].num_examples == 2

    @pytest.mark.parametrize("argument", ["train_split", "eval_split"])
    def test_unknown_names(self, argument):
        with pytest.raises(
            ValueError, match=f'`{argument}` must be one of "train", "test"'
        ):
            source.assemble(
                {"train": split(2), "test": split(2)}, **{argument: "dev"}
            )


class TestSmallestClass:
    def source(self, train):
        return source.Source(
            name="",
            origin="",
            pretrain=split(1),
            train=train,
            test=None,
            num_classes=None,
            class_names=None,
            image_size=2,
            sizes="",
            fingerprint="",
        )

    def test_counts_the_rarest(self):
        train = split(6, [0, 0, 2, 2, 2, 0])
        assert self.source(train).smallest_class == 3
        assert self.source(split(3, [0, 0, 2])).smallest_class == 1

    def test_is_not_known_without_labels(self):
        assert self.source(None).smallest_class is None
        unread = splits.StreamedSplit(5, has_labels=True, size=None)
        assert self.source(unread).smallest_class is None


class TestDescribe:
    def test_all_lines(self):
        found = source.Source(
            name="mine",
            origin="folder of images /mine",
            pretrain=split(1234),
            train=split(1, [0]),
            test=None,
            num_classes=12,
            class_names=tuple("abcdefghijkl"),
            image_size=2,
            sizes="2 x 2",
            fingerprint="0",
            notes=("one thing",),
            skipped=tuple((f"{i}.png", "empty file") for i in range(7)),
        )
        assert data.describe(found).splitlines() == [
            "mine: folder of images /mine",
            "  pretraining: 1,234 images, 2 x 2, held in memory",
            "  classes: 12 (a, b, c, d, e, f, g, h, i, j, ...)",
            "  evaluation: 1 labelled image, no test split",
            "  note: one thing",
            "  skipped: 7 image files that cannot be used",
            "    0.png: empty file",
            "    1.png: empty file",
            "    2.png: empty file",
            "    3.png: empty file",
            "    4.png: empty file",
            "    and 2 more",
        ]
