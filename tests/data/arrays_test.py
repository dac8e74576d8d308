import pathlib

import numpy as np
import pytest

from simclr_keras import data
from simclr_keras.data import arrays

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (20, 5, 6, 3), np.uint8)
GREY = RNG.integers(0, 256, (20, 5, 6), np.uint8)
LABELS = np.arange(20) % 4


def saved(tmp_path, **contents):
    path = tmp_path / "set.npz"
    np.savez(path, **contents)
    return str(path)


class TestImages:
    @pytest.mark.parametrize(
        "given,expected",
        [
            pytest.param(RGB, RGB, id="rgb"),
            pytest.param(GREY, np.stack([GREY] * 3, -1), id="grey"),
            pytest.param(
                GREY[..., None], np.stack([GREY] * 3, -1), id="one channel"
            ),
            pytest.param(RGB.astype(np.int64), RGB, id="integers"),
            pytest.param(RGB.astype(np.float32), RGB, id="floats to 255"),
            pytest.param(RGB / np.float32(255), RGB, id="floats to 1"),
            pytest.param(RGB / 255.0, RGB, id="doubles to 1"),
            pytest.param((RGB / 255).astype(np.float16), RGB, id="halves"),
            pytest.param(GREY > 127, 255 * np.stack([GREY > 127] * 3, -1),
                         id="booleans"),
            pytest.param(RGB[::2], RGB[::2], id="not contiguous"),
        ],
    )  # fmt: skip
    def test_become_rgb_bytes(self, given, expected):
        images = arrays.from_arrays(given).pretrain.images
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, expected)

    def test_transparent_pixels_are_blended_over_white(self):
        rgba = RNG.integers(0, 256, (20, 5, 6, 4), np.uint8)
        rgba[0, ..., 3] = 0
        rgba[1, ..., 3] = 255
        images = arrays.from_arrays(rgba).pretrain.images
        alpha = rgba[..., 3:] / 255
        expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
        np.testing.assert_allclose(images, expected, atol=0.5 + 1e-9)
        assert (images[0] == 255).all()
        np.testing.assert_array_equal(images[1], rgba[1, ..., :3])

    def test_range_is_that_of_all_arrays(self):
        # The test images alone look as if they were in [0, 1].
        dark = np.ones((4, 5, 6, 3), np.float32)
        source = arrays.from_arrays(
            RGB.astype(np.float32), LABELS, dark, LABELS[:4]
        )
        assert (source.test.images == 1).all()

    @pytest.mark.parametrize(
        "given,message",
        [
            (np.moveaxis(RGB, -1, 1), r"channels last.*moveaxis\(x_train, 1"),
            (GREY[:, None], "channels last"),
            (RGB[0], r"a single one is x_train\[None\].*\(5, 6, 3\)"),
            (RGB[0, 0], r"must be images \[N, H, W\]"),
            (np.zeros((2, 5, 6, 2), np.uint8), r"1, 3 or 4 channels"),
            (np.zeros((0, 5, 6, 3), np.uint8), r"Received: shape \(0, 5"),
            (np.zeros((2, 0, 6, 3), np.uint8), r"Received: shape \(2, 0"),
            (RGB / 255.0 - 0.5, "must be in 0..255, or floats"),
            (RGB / 255.0 * 1.5, "mean and standard deviation"),
            (RGB * 2.0, "must be in 0..255"),
            (RGB.astype(np.uint16) * 256, "must be in 0..255.*uint16"),
            (RGB.astype(np.int32) - 9, "must be in 0..255.*int32"),
            (np.where(RGB > 9, np.nan, 1.0), "must be in 0..255.*nan"),
            (RGB.astype("U3"), "must be integers or floats.*U3"),
        ],
    )
    def test_errors(self, given, message):
        with pytest.raises(ValueError, match="`?x_train`?|images of floats"):
            arrays.from_arrays(given)
        with pytest.raises(ValueError, match=message):
            arrays.from_arrays(given)


class TestLabels:
    @pytest.mark.parametrize(
        "given",
        [
            LABELS,
            LABELS.astype(np.uint8),
            LABELS[:, None],
            LABELS.astype(np.float32),
            np.eye(4)[LABELS],
            np.eye(4, dtype=bool)[LABELS],
            LABELS.tolist(),
        ],
    )
    def test_become_class_numbers(self, given):
        source = arrays.from_arrays(RGB, given, RGB, given)
        assert source.train.labels.dtype == np.int64
        np.testing.assert_array_equal(source.train.labels, LABELS)
        np.testing.assert_array_equal(source.test.labels, LABELS)
        assert source.num_classes == 4

    def test_some_images_may_have_none(self):
        labels = np.where(np.arange(20) < 12, LABELS, -1)
        source = arrays.from_arrays(RGB, labels, RGB, LABELS)
        np.testing.assert_array_equal(source.pretrain.labels, labels)
        np.testing.assert_array_equal(source.train.images, RGB[:12])

    def test_classes_of_test_images_count(self):
        source = arrays.from_arrays(RGB, LABELS, RGB[:1], [7])
        assert source.num_classes == 8

    @pytest.mark.parametrize("labels", [None, np.full(20, -1)])
    def test_may_be_absent(self, labels):
        source = arrays.from_arrays(RGB, labels, RGB)
        assert not source.pretrain.has_labels
        assert source.train is None and source.test is None
        assert source.num_classes is None
        assert "no labels" in data.describe(source)

    def test_numbers_without_an_image_are_told(self):
        source = arrays.from_arrays(RGB, LABELS + 1, 255 - RGB, LABELS + 3)
        assert source.num_classes == 7
        assert source.notes == (
            "1 of the 7 classes have no image, class 0 first; do labels "
            "begin at 0?",
        )

    def test_numbers_that_are_no_classes(self):
        with pytest.raises(ValueError, match="4 different labels up to 3000"):
            arrays.from_arrays(RGB, LABELS * 1000)

    def test_of_test_images_alone_are_not_used(self):
        source = arrays.from_arrays(RGB, None, RGB, LABELS)
        assert source.train is None and source.test is None
        assert source.num_classes is None

    @pytest.mark.parametrize(
        "given,message",
        [
            (LABELS[:-1], "one label for each.*19 labels and 20 images"),
            (LABELS - 2, "whole numbers"),
            (LABELS + 0.5, "whole numbers"),
            (np.full(20, np.nan), "whole numbers"),
            (LABELS.astype(str), "whole numbers"),
            (np.full((20, 4), 0.25), "whole numbers"),
            (np.ones((20, 4)), "whole numbers"),
            (LABELS[:, None, None], r"whole numbers.*shape \(20, 1, 1\)"),
        ],
    )
    def test_errors(self, given, message):
        with pytest.raises(ValueError, match=f"`y_train`.*{message}"):
            arrays.from_arrays(RGB, given)

    def test_test_labels_need_test_images(self):
        with pytest.raises(ValueError, match="`y_test` needs `x_test`"):
            arrays.from_arrays(RGB, LABELS, y_test=LABELS)


class TestSource:
    def test_fingerprint_depends_on_pixels_and_labels(self):
        changed = RGB.copy()
        changed[-1, -1, -1, -1] ^= 1
        prints = {
            arrays.from_arrays(*given).fingerprint
            for given in (
                (RGB,),
                (RGB, LABELS),
                (RGB, LABELS[::-1]),
                (changed,),
                (RGB, LABELS, RGB, LABELS),
            )
        }
        assert len(prints) == 5
        assert arrays.from_arrays(RGB).fingerprint in prints

    def test_describes_itself(self):
        source = arrays.from_arrays(
            RGB, LABELS, 255 - RGB[:3], LABELS[:3], class_names="abcd"
        )
        assert data.describe(source).splitlines() == [
            "arrays: arrays",
            "  pretraining: 20 images, 6 x 5, held in memory",
            "  classes: 4 (a, b, c, d)",
            "  evaluation: 20 labelled images to train on, 3 to test on",
        ]
        assert source.image_size == 5


class TestCopies:
    def test_are_counted(self):
        train = np.concatenate([RGB, RGB[:2], RGB[:1]])
        test = np.concatenate([RGB[4:6], 255 - RGB[4:5]])
        source = arrays.from_arrays(train, [0] * 23, test, [0] * 3)
        assert (source.num_duplicates, source.num_leaked) == (3, 2)

    def test_one_pixel_makes_another_image(self):
        changed = RGB.copy()
        changed[:, -1, -1, -1] ^= 1
        source = arrays.from_arrays(RGB, LABELS, changed, LABELS)
        assert (source.num_duplicates, source.num_leaked) == (0, 0)


class TestFromNpz:
    def test_reads_all_four(self, tmp_path):
        path = saved(
            tmp_path,
            x_train=RGB,
            y_train=LABELS[:, None],
            x_test=RGB[:5],
            y_test=LABELS[:5],
        )
        source = data.open_source(path)
        np.testing.assert_array_equal(source.pretrain.images, RGB)
        np.testing.assert_array_equal(source.train.labels, LABELS)
        np.testing.assert_array_equal(source.test.images, RGB[:5])
        assert source.name == "set.npz"
        assert path in data.describe(source)

    def test_images_alone_are_enough(self, tmp_path):
        source = data.open_source(saved(tmp_path, x_train=GREY))
        assert source.pretrain.num_examples == 20
        assert source.train is None

    def test_compressed_and_upper_case_name(self, tmp_path):
        path = tmp_path / "SET.NPZ"
        with open(path, "wb") as file:
            np.savez_compressed(file, x_train=GREY)
        assert data.open_source(str(path)).pretrain.num_examples == 20

    def test_says_what_is_not_used(self, tmp_path):
        path = saved(tmp_path, x_train=RGB, names=np.array(["a"]))
        assert "not used: names" in data.describe(data.open_source(path))

    def test_without_test_images_a_part_is_put_aside(self, tmp_path):
        path = saved(tmp_path, x_train=RGB, y_train=LABELS)
        source = data.open_source(path, seed=3)
        assert source.test.num_examples == 4
        assert source.pretrain.num_examples == 16
        assert "chosen by seed 3" in data.describe(source)

    def test_wrong_keys(self, tmp_path):
        path = saved(tmp_path, images=RGB, labels=LABELS)
        with pytest.raises(ValueError, match="x_train.*images, labels"):
            data.open_source(path)

    def test_pickles_are_refused(self, tmp_path):
        path = saved(tmp_path, x_train=np.array([{}], dtype=object))
        with pytest.raises(ValueError, match="plain arrays.*set.npz"):
            data.open_source(path)

    @pytest.mark.parametrize(
        "content", [b"", b"not a zip file", b"PK\3\4", b"\x93NUMPY\1\0"]
    )
    def test_damaged_files(self, tmp_path, content):
        path = tmp_path / "set.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="plain arrays.*set.npz"):
            data.open_source(str(path))

    def test_damage_inside(self, tmp_path):
        path = pathlib.Path(saved(tmp_path, x_train=RGB))
        content = bytearray(path.read_bytes())
        content[400] ^= 255
        path.write_bytes(content)
        with pytest.raises(ValueError, match="plain arrays.*CRC"):
            data.open_source(str(path))

    def test_damage_inside_a_packed_file(self, tmp_path):
        path = tmp_path / "set.npz"
        np.savez_compressed(path, x_train=RGB)
        content = bytearray(path.read_bytes())
        content[70:90] = bytes(20)
        path.write_bytes(content)
        with pytest.raises(ValueError, match="plain arrays.*set.npz"):
            data.open_source(str(path))

    def test_encrypted_file(self, tmp_path):
        path = pathlib.Path(saved(tmp_path, x_train=RGB))
        content = bytearray(path.read_bytes())
        content[6] |= 1
        content[content.index(b"PK\1\2") + 8] |= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match="plain arrays.*encrypted"):
            data.open_source(str(path))

    def test_truncated_file(self, tmp_path):
        path = pathlib.Path(saved(tmp_path, x_train=RGB))
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ValueError, match="plain arrays.*set.npz"):
            data.open_source(str(path))
