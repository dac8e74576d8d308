"""Random crops against Google's numbers, TensorFlow's sampler and loops."""

import collections
import time

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import crops
from simclr_keras.seeded_layer import fold_seed
from simclr_keras.seeded_layer import uniform
from tests import golden
from tests.distributions import assert_same_distribution
from tests.distributions import assert_same_fraction
from tests.distributions import assert_same_histogram

CROP = golden.npz("crop_resize.npz")
GEOMETRY = golden.load_json("augment_stats.json")["geometry"]
# float32 weights and sums; the kernel's phases are TensorFlow's 1/1024.
TOLERANCE = 2e-6
SEED = (1, 2)


def boxes_of(height, width, count, seed=SEED, **arguments):
    boxes, flips = crops.sample_boxes(seed, count, height, width, **arguments)
    return boxes.numpy(), flips.numpy()


class TestCropAndResize:
    @pytest.mark.parametrize("index", range(int(CROP["num_images"])))
    @pytest.mark.parametrize("size", [tuple(s) for s in CROP["out_sizes"]])
    def test_equals_google_s(self, index, size):
        boxes = CROP[f"img{index}_boxes"]
        images = np.stack([CROP[f"img{index}"]] * len(boxes))
        expected = np.stack(
            [
                CROP[f"img{index}_box{j}_{size[0]}x{size[1]}"]
                for j in range(len(boxes))
            ]
        )
        arguments = (tf.cast(boxes, tf.float32), [int(s) for s in size])
        actual = crops.crop_and_resize(tf.constant(images), *arguments)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE)
        from_float = crops.crop_and_resize(
            tf.constant(golden.images(images)), *arguments
        )
        np.testing.assert_allclose(from_float, actual, rtol=0, atol=1e-6)

    def test_flip_mirrors_the_images_it_names(self):
        boxes = tf.cast(CROP["img0_boxes"], tf.float32)
        images = tf.constant(np.stack([CROP["img0"]] * len(boxes)))
        flips = np.arange(len(boxes)) % 2 == 0
        plain = crops.crop_and_resize(images, boxes, (9, 14)).numpy()
        mirrored = crops.crop_and_resize(images, boxes, (9, 14), flips).numpy()
        np.testing.assert_array_equal(mirrored[~flips], plain[~flips])
        np.testing.assert_allclose(
            mirrored[flips], plain[flips][:, :, ::-1], rtol=0, atol=1e-6
        )

    @pytest.mark.parametrize(
        ("shape", "box", "size"),
        [
            ((1, 1), (0, 0, 1, 1), (5, 5)),
            ((30, 20), (29, 19, 1, 1), (3, 4)),
            ((40, 200), (1, 3, 38, 190), (16, 16)),
            ((7, 9), (0, 2, 7, 3), (32, 32)),
        ],
    )
    def test_extreme_boxes_against_tensorflow(self, shape, box, size):
        image = np.random.default_rng(0).random((*shape, 3), np.float32)
        y, x, height, width = box
        expected = tf.image.resize(
            image[y : y + height, x : x + width], size, "bicubic"
        )
        actual = crops.crop_and_resize(
            image[None], tf.constant([box], tf.float32), size
        )
        np.testing.assert_allclose(actual[0], expected, rtol=0, atol=TOLERANCE)


class TestGoogleSampler:
    @pytest.mark.parametrize("shape", [(32, 32), (48, 80), (7, 5), (3, 2)])
    def test_boxes_are_distributed_as_tensorflow_s(self, shape):
        """Chi-square of two samples over all sizes: within 5 sigma of df."""
        count = 6000

        @tf.function
        def tensorflow_s():
            def draw(index):
                begin, size, _ = (
                    tf.image.stateless_sample_distorted_bounding_box(
                        (*shape, 3),
                        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
                        tf.stack([index, 3]),
                        **sampler_arguments(),
                    )
                )
                return tf.concat([begin[:2], size[:2]], 0)

            return tf.map_fn(draw, tf.range(count))

        expected = tensorflow_s().numpy()
        actual = boxes_of(*shape, count)[0].astype(int)
        for columns in (slice(2, 4), slice(0, 1), slice(1, 2)):
            assert_same_counts(actual[:, columns], expected[:, columns])

    @pytest.mark.parametrize("index", range(len(GEOMETRY)))
    def test_statistics_are_google_s(self, index):
        """n own draws against m: 5 standard errors, see the checks below."""
        expected = GEOMETRY[index]
        height, width = expected["source_height"], expected["source_width"]
        count = 20000
        boxes, flips = boxes_of(height, width, count)
        y, x, heights, widths = boxes.T
        values = {
            "area_fraction": heights * widths / (height * width),
            "aspect_w_over_h": widths / heights,
            "log_aspect": np.log(widths / heights),
            "centre_x": (x + widths / 2) / width,
            "centre_y": (y + heights / 2) / height,
            "width_fraction": widths / width,
            "height_fraction": heights / height,
        }
        draws = expected["draws"]
        for name, value in values.items():
            assert_same_distribution(value, expected[name], draws)
        assert_same_fraction(flips, expected["flip_fraction"], draws)
        for name, sizes in (("height", heights), ("width", widths)):
            counts = expected[f"{name}_counts"]
            own = np.bincount(sizes.astype(int), minlength=len(counts))
            assert_same_histogram(own, np.array(counts))

    @pytest.mark.parametrize("index", range(len(GEOMETRY)))
    def test_never_small_nor_at_the_last_position(self, index):
        height = GEOMETRY[index]["source_height"]
        width = GEOMETRY[index]["source_width"]
        y, x, heights, widths = boxes_of(height, width, 20000)[0].T
        arguments = GEOMETRY[index]["sampler_arguments"]
        smallest = arguments["min_object_covered"]
        assert np.min(heights * widths) >= smallest * height * width
        assert not np.any((x + widths == width) & (widths < width))
        assert not np.any((y + heights == height) & (heights < height))
        assert np.min(x) == np.min(y) == 0

    @pytest.mark.parametrize("shape", [(1, 1), (1, 30), (10, 200), (400, 20)])
    def test_whole_image_where_no_box_is_allowed(self, shape):
        boxes, _ = boxes_of(*shape, 10)
        np.testing.assert_array_equal(boxes, [[0, 0, *shape]] * 10)


class TestTorchvisionSampler:
    @pytest.mark.parametrize(
        "shape", [(32, 32), (48, 80), (7, 5), (1, 1), (10, 200), (200, 10)]
    )
    def test_equals_a_loop_over_attempts(self, shape):
        count = 300
        boxes, flips = boxes_of(*shape, count, crop="torchvision")
        sizes = uniform(fold_seed(SEED, 0), [count, 2, 10]).numpy()
        draws = uniform(SEED, [count, 3]).numpy()
        expected = np.array(
            [
                torchvision_box(*size, offset, *shape)
                for size, offset in zip(sizes, draws[:, :2], strict=True)
            ]
        )
        # A product that lands on .5 may round either way.
        assert np.mean(np.all(boxes == expected, axis=1)) > 0.99
        assert np.max(np.abs(boxes - expected)) <= 1
        np.testing.assert_array_equal(flips, draws[:, -1] < 0.5)

    def test_area_is_uniform(self):
        y, x, heights, widths = boxes_of(500, 500, 4000, crop="torchvision")[
            0
        ].T
        log_aspect = np.log(widths / heights)
        assert abs(np.mean(log_aspect)) < 5 * np.std(log_aspect) / 4000**0.5
        # Large boxes of extreme aspect do not fit, so only below about 3/4.
        area = heights * widths / 500**2
        area = (area[area < 0.7] - 0.08) / 0.62
        deviation = np.abs(np.mean(area) - 0.5)
        assert deviation < 5 * 12**-0.5 / len(area) ** 0.5
        assert np.max(x + widths) == np.max(y + heights) == 500

    def test_fallback_is_the_largest_centred_box(self):
        boxes, _ = boxes_of(10, 200, 4, crop="torchvision")
        np.testing.assert_array_equal(boxes, [[0, 93, 10, 13]] * 4)


class TestNoSampler:
    @pytest.mark.parametrize("shape", [(32, 32), (7, 50)])
    def test_takes_the_whole_image(self, shape):
        boxes, flips = boxes_of(*shape, 64, crop="none")
        np.testing.assert_array_equal(boxes, [[0, 0, *shape]] * 64)
        assert 0 < np.sum(flips) < 64


class TestRandomness:
    def test_same_seed_same_boxes_other_seed_other_boxes(self):
        first, again = boxes_of(40, 60, 8), boxes_of(40, 60, 8)
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        assert np.any(first[0] != boxes_of(40, 60, 8, seed=(1, 3))[0])

    def test_each_image_has_its_own(self):
        boxes, flips = boxes_of(200, 200, 64)
        assert len(np.unique(boxes, axis=0)) == 64
        assert 0 < np.sum(flips) < 64

    def test_flip_probability(self):
        assert not np.any(boxes_of(9, 9, 50, flip_probability=0)[1])
        assert np.all(boxes_of(9, 9, 50, flip_probability=1)[1])


class TestHostCrop:
    @pytest.mark.parametrize("crop", crops.SAMPLERS)
    @pytest.mark.parametrize(
        "shape", [(1, 1), (1, 30), (7, 5), (64, 48), (300, 20)]
    )
    def test_equals_the_crop_on_the_device(self, crop, shape):
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
        for step in range(4):
            seed = fold_seed(0, step)
            boxes, flips = crops.sample_boxes(seed, 1, *shape, crop=crop)
            expected = crops.crop_and_resize(
                image[None], boxes, (12, 12), flips
            )
            view = crops.host_crop(image, seed, 12, crop=crop)
            np.testing.assert_allclose(
                view, expected[0], rtol=0, atol=TOLERANCE
            )

    def test_float_and_uint8_agree(self):
        image = CROP["img0"]
        np.testing.assert_allclose(
            crops.host_crop(image, SEED, 16),
            crops.host_crop(golden.images(image), SEED, 16),
            rtol=0,
            atol=TOLERANCE,
        )

    def test_inside_tf_data_on_images_of_mixed_sizes(self):
        shapes = [(5, 9), (40, 20), (1, 1)]
        dataset = tf.data.Dataset.from_generator(
            lambda: (np.full((*s, 3), 51, np.uint8) for s in shapes),
            output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
        )
        dataset = dataset.enumerate().map(
            lambda i, image: crops.host_crop(image, fold_seed(0, i), 8)
        )
        assert dataset.element_spec.shape == (8, 8, 3)
        views = np.stack(list(dataset))
        np.testing.assert_allclose(views, 0.2, atol=1e-6)

    def test_a_very_wide_photograph_in_seconds(self):
        image = tf.zeros([3000, 12000, 3], tf.uint8)
        start = time.monotonic()
        for step in range(3):
            crops.host_crop(image, fold_seed(0, step), 32)
        assert time.monotonic() - start < 10

    @pytest.mark.parametrize(
        ("image", "arguments", "message"),
        [
            (np.zeros([4, 4], np.uint8), {}, "`image` must be RGB"),
            (np.zeros([1, 4, 4, 3], np.uint8), {}, "`image` must be RGB"),
            (np.zeros([4, 4, 3], np.int32), {}, "`image` must be uint8"),
            (np.zeros([4, 4, 3]), {"crop": "x"}, "`crop` must be one of"),
            (np.zeros([4, 4, 3]), {"image_size": 0}, "`image_size` must be"),
            (
                np.zeros([4, 4, 3]),
                {"flip_probability": 2},
                "`flip_probability` must be from 0 to 1",
            ),
        ],
    )
    def test_refuses(self, image, arguments, message):
        with pytest.raises(ValueError, match=message):
            crops.host_crop(image, SEED, **{"image_size": 8, **arguments})


def sampler_arguments():
    arguments = dict(GEOMETRY[0]["sampler_arguments"])
    del arguments["bounding_boxes"]
    return arguments


def torchvision_box(areas, aspects, offsets, height, width):
    """The sampler of the paper's text, one attempt after the other."""
    low, high = np.float32(3 / 4), np.float32(4 / 3)
    for u_area, u_aspect in zip(areas, aspects, strict=True):
        area = (np.float32(0.08) + np.float32(0.92) * u_area) * height * width
        aspect = np.exp(np.log(low) + u_aspect * np.log(high / low))
        h = int(np.round(np.sqrt(area / aspect)))
        w = int(np.round(np.sqrt(area * aspect)))
        if 0 < h <= height and 0 < w <= width:
            y = int(offsets[0] * (height - h + 1))
            x = int(offsets[1] * (width - w + 1))
            return y, x, h, w
    h = min(height, round(width / 0.75))
    w = min(width, round(height * 4 / 3))
    return (height - h) // 2, (width - w) // 2, h, w


def assert_same_counts(actual, expected):
    rows = [collections.Counter(map(tuple, a)) for a in (actual, expected)]
    keys = sorted(set(rows[0]) | set(rows[1]))
    assert_same_histogram(*[[row[key] for key in keys] for row in rows])
