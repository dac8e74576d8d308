import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from simclr_keras import preprocessing
from tests import golden

GOLDEN = golden.npz("eval_preprocess.npz")
# Stated with the numbers, for TensorFlow's own resize.
TOLERANCE = 2e-6


def golden_cases(kind):
    cases = []
    for key in sorted(GOLDEN):
        if f"_{kind}_" in key:
            image, _, size = key.split("_")
            height, width = (int(side) for side in size.split("x"))
            cases.append(pytest.param(image, (height, width), key, id=key))
    return cases


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pixels(height=6, width=9, channels=3, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, channels), np.uint8)


class TestCenterCropAndResize:
    @pytest.mark.parametrize("image,size,key", golden_cases("crop"))
    def test_agrees_with_google(self, image, size, key):
        actual = preprocessing.center_crop_and_resize(
            GOLDEN[image], size, 0.875
        )
        np.testing.assert_allclose(actual, GOLDEN[key], atol=TOLERANCE, rtol=0)

    @pytest.mark.parametrize("image,size,key", golden_cases("box"))
    def test_box_agrees_with_google(self, image, size, key):
        height, width = GOLDEN[image].shape[:2]
        box = preprocessing.center_box(height, width, size, 0.875)
        np.testing.assert_array_equal([int(side) for side in box], GOLDEN[key])

    @pytest.mark.parametrize("image,size,key", golden_cases("nocrop"))
    def test_whole_image_agrees_with_google(self, image, size, key):
        actual = preprocessing.center_crop_and_resize(GOLDEN[image], size, 1.0)
        np.testing.assert_allclose(actual, GOLDEN[key], atol=TOLERANCE, rtol=0)

    def test_unknown_sizes_in_a_graph(self):
        crop = tf.function(
            lambda x: preprocessing.center_crop_and_resize(x, (64, 48), 0.875),
            input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)],
        )
        for height, width in [(37, 53), (1, 1), (1, 300), (300, 1), (64, 48)]:
            image = pixels(height, width)
            actual = crop(image)
            assert actual.shape == (64, 48, 3)
            np.testing.assert_array_equal(
                actual,
                preprocessing.center_crop_and_resize(image, (64, 48), 0.875),
            )

    def test_uint8_and_float_agree(self):
        image = pixels(40, 30)
        np.testing.assert_allclose(
            preprocessing.center_crop_and_resize(image, 16, 0.875),
            preprocessing.center_crop_and_resize(
                image.astype(np.float32) * np.float32(1 / 255), 16, 0.875
            ),
            # Scaled before the sums, or after.
            rtol=1e-6,
            atol=1e-6,
        )

    def test_result_is_clipped(self):
        image = np.zeros((8, 8, 3), np.float32)
        image[:, 4:] = 1.0
        actual = preprocessing.center_crop_and_resize(3 * image - 1, 32, 1.0)
        assert np.min(actual) == 0.0
        assert np.max(actual) == 1.0

    @pytest.mark.parametrize(
        "images,size,proportion,message",
        [
            (np.zeros((4, 4, 3), np.int32), 4, 1.0, "`images` must be uint8"),
            (np.zeros((4, 4), np.uint8), 4, 1.0, "`images` must be .h, w, 3."),
            (np.zeros((4, 4, 3), np.uint8), 0, 1.0, "`image_size` must be"),
            (np.zeros((4, 4, 3), np.uint8), 4, 1.5, "`crop_proportion` must"),
        ],
    )
    def test_errors(self, images, size, proportion, message):
        with pytest.raises(ValueError, match=message):
            preprocessing.center_crop_and_resize(images, size, proportion)


class TestPreprocess:
    @pytest.mark.parametrize("image_size", [24, 32, 33, (40, 64)])
    def test_equals_one_by_one(self, image_size):
        images = np.stack([pixels(50, 41, seed=seed) for seed in range(3)])
        proportion = preprocessing.crop_proportion(image_size)
        expected = [
            preprocessing.center_crop_and_resize(image, image_size, proportion)
            for image in images
        ]
        np.testing.assert_array_equal(
            preprocessing.preprocess(images, image_size), expected
        )

    def test_small_images_are_not_cropped(self):
        assert preprocessing.crop_proportion(32) == 1.0
        assert preprocessing.crop_proportion(33) == 0.875
        assert preprocessing.crop_proportion((20, 40)) == 0.875
        images = pixels(32, 32)[None]
        np.testing.assert_array_equal(
            preprocessing.preprocess(images, 32),
            images * np.float32(1 / 255),
        )


def white(image):
    """What Pillow shows on a white page, the slow and independent way."""
    rgba = np.asarray(image.convert("RGBA"), np.float64)
    alpha = rgba[..., 3:] / 255
    return np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha))


class TestDecode:
    @pytest.mark.parametrize(
        "mode,form",
        [
            (mode, form)
            for mode in ("RGB", "L", "1", "P")
            for form in ("PNG", "BMP", "GIF", "WEBP")
            # TensorFlow reads BMP from 8 bits.
            if (mode, form) != ("1", "BMP")
        ],
    )
    def test_lossless_formats_equal_pillow(self, mode, form):
        options = {"lossless": True} if form == "WEBP" else {}
        image = Image.fromarray(pixels()).convert(mode)
        content = encoded(image, form, **options)
        expected = Image.open(io.BytesIO(content)).convert("RGB")
        np.testing.assert_array_equal(preprocessing.decode(content), expected)

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    @pytest.mark.parametrize("form", ["PNG", "WEBP"])
    def test_transparent_pixels_are_blended_over_white(self, mode, form):
        options = {"lossless": True, "exact": True} if form == "WEBP" else {}
        image = Image.fromarray(pixels(channels=4)).convert(mode)
        actual = preprocessing.decode(encoded(image, form, **options))
        np.testing.assert_array_equal(actual, white(image))

    def test_palette_with_transparent_colour(self):
        image = Image.fromarray(pixels()).convert("P")
        transparent = image.getpixel((0, 0))
        content = encoded(image, "PNG", transparency=transparent)
        expected = white(Image.open(io.BytesIO(content)))
        actual = preprocessing.decode(content)
        np.testing.assert_array_equal(actual, expected)
        np.testing.assert_array_equal(actual[0, 0], [255, 255, 255])

    def test_fourth_channel_of_bmp_is_ignored(self):
        image = pixels(channels=4)
        content = encoded(Image.fromarray(image), "BMP")
        np.testing.assert_array_equal(
            preprocessing.decode(content), image[..., :3]
        )

    def test_16_bits_keep_the_high_byte(self):
        values = np.array([[0, 255, 256, 65535]], np.uint16)
        content = encoded(Image.fromarray(values), "PNG")
        np.testing.assert_array_equal(
            preprocessing.decode(content)[0, :, 0], [0, 0, 1, 255]
        )

    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
    @pytest.mark.parametrize("progressive", [False, True])
    def test_jpeg_is_close_to_pillow(self, mode, progressive):
        smooth = np.linspace(0, 255, 32 * 40 * 3).reshape(32, 40, 3)
        image = Image.fromarray(smooth.astype(np.uint8)).convert(mode)
        content = encoded(image, "JPEG", progressive=progressive)
        expected = Image.open(io.BytesIO(content)).convert("RGB")
        actual = preprocessing.decode(content).numpy().astype(int)
        assert actual.shape == (32, 40, 3)
        # CMYK to RGB is computed in another order of roundings.
        assert np.max(np.abs(actual - np.asarray(expected, int))) <= 4

    def test_first_frame_of_a_gif(self):
        first, second = pixels(seed=1), pixels(seed=2)
        content = encoded(
            Image.fromarray(first).convert("P"),
            "GIF",
            save_all=True,
            append_images=[Image.fromarray(second)],
        )
        expected = Image.open(io.BytesIO(content)).convert("RGB")
        np.testing.assert_array_equal(preprocessing.decode(content), expected)

    def test_inside_a_dataset(self):
        images = [pixels(4, 5), pixels(7, 3)]
        contents = [encoded(Image.fromarray(x), "PNG") for x in images]
        dataset = tf.data.Dataset.from_tensor_slices(contents)
        dataset = dataset.map(preprocessing.decode)
        assert dataset.element_spec.shape.as_list() == [None, None, 3]
        for actual, expected in zip(dataset, images, strict=True):
            np.testing.assert_array_equal(actual, expected)

    def test_what_cannot_be_read_fails(self):
        image = Image.fromarray(pixels(32, 32))
        jpeg = encoded(image, "JPEG")
        animated = encoded(
            image, "WEBP", save_all=True, append_images=[image.rotate(90)]
        )
        bad = {
            "empty": b"",
            "text": b"no image",
            "truncated": jpeg[: len(jpeg) // 2],
            "tiff": encoded(image, "TIFF"),
            "animated": animated,
        }
        for name, content in bad.items():
            with pytest.raises(tf.errors.InvalidArgumentError):
                preprocessing.decode(content)
                pytest.fail(f"{name} was decoded")
