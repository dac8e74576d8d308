import os

import numpy as np
import pytest

from simclr_keras import data
from simclr_keras.data import file_list
from tests.data import scan_test

png, write = scan_test.png, scan_test.write


@pytest.fixture
def folder(tmp_path):
    for index, name in enumerate("abcdef"):
        write(tmp_path, f"{name}.png", png(seed=index))
    return tmp_path


def opened(folder, text, name="list.csv", **options):
    content = text if isinstance(text, bytes) else text.encode()
    return data.open_source(str(write(folder, name, content)), **options)


def names(split, folder):
    return [os.path.relpath(path, folder) for path in split.paths]


class TestFromList:
    def test_names_alone(self, folder):
        source = opened(folder, "b.png\na.png\n", "list.txt")
        assert names(source.pretrain, folder) == ["a.png", "b.png"]
        assert source.train is None and source.num_classes is None
        assert "list of images" in data.describe(source)
        images = source.pretrain.images
        rng = np.random.default_rng(0)
        np.testing.assert_array_equal(
            images[0], rng.integers(0, 256, (4, 5, 3), np.uint8)
        )

    @pytest.mark.parametrize("name", ["list.txt", "list.csv", "LIST.TXT"])
    @pytest.mark.parametrize("separator", [",", "\t", ", "])
    def test_labels(self, folder, separator, name):
        lines = [
            f"{image}.png{separator}{label}"
            for image, label in zip("abcdef", "yxyxyx", strict=True)
        ]
        source = opened(folder, "\n".join(lines), name)
        assert source.class_names == ("x", "y")
        for split in (source.train, source.test):
            for image, label in zip(
                names(split, folder), split.labels, strict=True
            ):
                assert "xy"[label] == "yxyxyx"["abcdef".index(image[0])]

    @pytest.mark.parametrize(
        "text",
        [
            "path,label\na.png,x\nb.png,y\n",
            "Path, Label\r\na.png,x\r\nb.png,y\r\n",
            "\ufeffpath\tlabel\na.png\tx\nb.png\ty",
            "# photos\n\n  \npath,label\n # more\na.png,x\nb.png,y",
            '"a.png",x\n"b.png","y"\n',
        ],
    )
    def test_what_is_left_out(self, folder, text):
        source = opened(folder, text)
        assert names(source.pretrain, folder) == ["a.png", "b.png"]
        assert source.class_names == ("x", "y")

    def test_numbers_are_sorted_as_numbers(self, folder):
        source = opened(folder, "a.png,10\nb.png,9\nc.png,10\nd.png,9\n")
        assert source.class_names == ("9", "10")

    def test_images_without_a_label_are_pretrained_on(self, folder):
        source = opened(folder, "a.png,x\nb.png,y\nc.png\nd.png,\n")
        assert source.pretrain.labels.tolist() == [0, 1, -1, -1]
        assert source.train.num_examples == 2
        assert "2 images without a label" in data.describe(source)

    def test_one_label_is_none(self, folder):
        source = opened(folder, "a.png,x\nb.png,x\n")
        assert source.num_classes is None
        assert "only one label" in data.describe(source)

    def test_names_of_all_kinds(self, folder, monkeypatch):
        monkeypatch.setenv("HOME", str(folder))
        write(folder, "Zoo, May/é 1.png", png(seed=7))
        write(folder, "no ending", png(seed=8))
        lines = (
            f'"Zoo, May/é 1.png",x\nno ending,y\n{folder}/a.png,z\n~/b.png,w'
        )
        source = opened(folder, lines)
        expected = ["Zoo, May/é 1.png", "a.png", "b.png", "no ending"]
        assert sorted(names(source.pretrain, folder)) == expected
        assert source.pretrain.images.shape == (4, 4, 5, 3)

    def test_invalid_utf_8(self, folder):
        write(folder, os.fsdecode(b"\xe4.png"), png(seed=7))
        source = opened(folder, b"\xe4.png\na.png\n")
        assert source.pretrain.images.shape[0] == 2

    def test_lies_anywhere(self, folder):
        write(folder, "lists/one.txt", b"../a.png\n../b.png\n")
        source = data.open_source(str(folder / "lists/one.txt"))
        assert source.pretrain.images.shape[0] == 2

    def test_an_image_named_twice_counts_once(self, folder):
        source = opened(folder, "a.png\n./a.png\na.png\nb.png")
        assert source.pretrain.num_examples == 2
        assert "1 name of images that are here already" in data.describe(source)

    def test_missing_files_are_skipped_up_to_the_share(self, folder):
        lines = "a.png\nb.png\nc.png\nnone.png\n"
        with pytest.raises(
            ValueError, match="1 of 4 are:\n  none.png: no such"
        ):
            opened(folder, lines)
        source = opened(folder, lines, max_skipped=0.25)
        assert source.pretrain.num_examples == 3
        assert source.skipped[0][0] == "none.png"

    def test_fingerprint_depends_on_names_and_labels(self, folder):
        prints = {
            opened(folder, text).fingerprint
            for text in (
                "a.png\nb.png\n",
                "a.png\nc.png\n",
                "a.png,x\nb.png,y\n",
                "a.png,y\nb.png,x\n",
            )
        }
        assert len(prints) == 4
        again = opened(folder, "# comment\nb.png\na.png", "other.txt")
        assert again.fingerprint in prints


class TestErrors:
    @pytest.mark.parametrize(
        "text,message",
        [
            ("a.png,x\nb.png,y,z\n", "line 2 of .*'b.png,y,z'"),
            ("a.png\n\n,x\n", "begin with a path.*line 3 of .*',x'"),
            ("a.png\n# c\nZoo, May.png\n", "double quotes.*line 3 of"),
            ("a.png,x\nb.png\na.png,y", "line 3 of .*line 1 says 'x'"),
            ("a.png\nb\0.png", "line 2"),
            ("", "where there are no files; expected lines"),
            ("# nothing\n", "expected lines\n  cat/1.jpg"),
            ("none.png\n", r"1 image file that cannot .*\(none.png: "),
        ],
    )
    def test_name_the_line(self, folder, text, message):
        with pytest.raises(ValueError, match=message) as error:
            opened(folder, text)
        assert "list.csv" in str(error.value)

    def test_a_folder_is_no_image(self, folder):
        os.makedirs(folder / "sub")
        source = opened(folder, "a.png\nsub\n", max_skipped=0.5)
        assert source.skipped == (("sub", "Is a directory"),)

    @pytest.mark.parametrize("argument", ["train_split", "eval_split"])
    def test_splits(self, folder, argument):
        with pytest.raises(
            ValueError, match=f'`{argument}` must be one of "tr'
        ):
            opened(folder, "a.png,x\nb.png,y\n", **{argument: "test"})


class TestRead:
    def test_keeps_the_order(self, folder):
        path = write(folder, "list.txt", b"c.png\tx\na.png\n")
        assert file_list.read(path) == {"c.png": "x", "a.png": None}
