import json
import os
import shutil

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf

from simclr_keras import data
from simclr_keras import embedding
from simclr_keras.data import pipelines
from simclr_keras.embedding import bulk
from simclr_keras.evaluation import features
from simclr_keras.export import saved_model
from tests.embedding import small

NUM = 21
BAD = "cat/04.jpg"
DAMAGED = "damaged or cut off"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes; one file is damaged in its middle, one is no image."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(NUM):
        path = folder / ("cat" if number % 2 == 0 else "dog")
        path.mkdir(exist_ok=True)
        (path / f"{number:02}.jpg").write_bytes(small.jpeg(number))
    content = small.jpeg(4)
    middle = len(content) // 2
    (folder / BAD).write_bytes(content[:middle] + b"\xff\xd9")
    (folder / "dog" / "none.png").write_bytes(b"text")
    return folder


@pytest.fixture(scope="module")
def model():
    return small.encoder()


@pytest.fixture(scope="module")
def encoder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "encoder.keras"
    model.save(path)
    return embedding.load(path.parent)


def opened(path, **kwargs):
    return embedding.Images(
        data.open_source(str(path), max_skipped=1.0, whole=True), **kwargs
    )


@pytest.fixture(scope="module")
def images(folder):
    return opened(folder)


@pytest.fixture(scope="module")
def parquet(encoder, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "all.parquet"
    summary = embedding.run(encoder, images, path, batch_size=4)
    return path, summary


@pytest.fixture(scope="module")
def whole(parquet, encoder, images, tmp_path_factory):
    """Ending -> a file of all images."""
    found = {".parquet": parquet[0]}
    for ending in (".npz", ".csv"):
        found[ending] = tmp_path_factory.mktemp("out") / f"all{ending}"
        embedding.run(encoder, images, found[ending], batch_size=4)
    return found


def together(path):
    fields = zip(*embedding.read(path), strict=True)
    return [
        None if field[0] is None else np.concatenate(field) for field in fields
    ]


def extracted(model, split):
    return features.extract(model, pipelines.evaluation(split, 32, small.SIZE))


class TestRun:
    def test_equals_evaluation(self, parquet, folder, model, tmp_path):
        paths, labels, names, errors, found = together(parquet[0])
        sound = tmp_path / "sound"
        for path in paths[errors == ""]:
            copy = sound / os.path.relpath(path, folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        source = data.open_source(str(sound), whole=True)
        x, y = extracted(model, source.named["train"])
        np.testing.assert_allclose(found[errors == ""], x, atol=1e-6)
        np.testing.assert_array_equal(labels[errors == ""], y)
        parents = [os.path.basename(os.path.dirname(path)) for path in paths]
        np.testing.assert_array_equal(names[:NUM], parents[:NUM])

    @pytest.mark.parametrize("kind", ["npz", "idx"])
    def test_equals_evaluation_on_arrays(self, kind, encoder, model, tmp_path):
        x = np.random.default_rng(0).integers(0, 256, (9, 10, 12), np.uint8)
        y, path = np.arange(9) % 3, tmp_path / "all.npz"
        if kind == "npz":
            np.savez(path, x_train=x[:6], y_train=y[:6], x_test=x[6:])
        else:
            path = tmp_path / "idx"
            path.mkdir()
            for name, images in (("train", x[:6]), ("t10k", x[6:])):
                header = (
                    b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes()
                )
                content = header + images.tobytes()
                (path / f"{name}-images-idx3-ubyte").write_bytes(content)
        images = opened(path)
        embedding.run(encoder, images, tmp_path / "a.parquet", batch_size=4)
        paths, labels, _, _, found = together(tmp_path / "a.parquet")
        expected = [
            extracted(model, split).x for split in images.source.named.values()
        ]
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-6)
        places = [*(f"train[{i}]" for i in range(6)), "test[0]", "test[1]"]
        assert paths.tolist() == [*places, "test[2]"]
        known = y[:6] if kind == "npz" else [-1] * 6
        assert labels.tolist() == [*known, -1, -1, -1]
        assert images.number("test[1]") == 7
        assert images.number("test[3]") is None

    def test_one_split(self, encoder, tmp_path):
        x = np.zeros((5, 8, 8), np.uint8)
        np.savez(tmp_path / "a.npz", x_train=x, x_test=x[:2])
        images = opened(tmp_path / "a.npz", split="test")
        embedding.run(encoder, images, tmp_path / "a.parquet")
        paths = together(tmp_path / "a.parquet")[0]
        assert paths.tolist() == ["test[0]", "test[1]"]
        with pytest.raises(ValueError, match="one of train, test. Received"):
            opened(tmp_path / "a.npz", split="val")

    def test_bad_files_are_rows_without_an_embedding(self, parquet, folder):
        path, summary = parquet
        table = pyarrow.parquet.read_table(path)
        assert len(table) == summary.num_images == NUM + 1
        bad = [row for row in table.to_pylist() if not row["valid"]]
        assert {row["path"]: row["error"] for row in bad} == dict(summary.bad)
        assert dict(summary.bad) == {
            str(folder / BAD): DAMAGED,
            str(folder / "dog/none.png"): "not an image",
        }
        assert not np.any([row["embedding"] for row in bad])
        assert not os.path.exists(f"{path}.parts")

    def test_files_that_vanish(self, encoder, tmp_path, monkeypatch):
        folder = tmp_path / "photos"
        folder.mkdir()
        for number in range(5):
            (folder / f"{number}.jpg").write_bytes(small.jpeg(number))
        images = opened(folder)
        (folder / "2.jpg").unlink()
        (folder / "4.jpg").write_bytes(b"text")
        summary = embedding.run(encoder, images, tmp_path / "a.npz")
        assert [(os.path.basename(path), why) for path, why in summary.bad] == [
            ("2.jpg", "cannot be read"),
            ("4.jpg", DAMAGED),
        ]
        monkeypatch.setattr(bulk, "_MOST_UNREADABLE", 0)
        with pytest.raises(OSError, match="is their disk still there"):
            embedding.run(encoder, images, tmp_path / "b.npz")
        assert not (tmp_path / "b.npz").exists()

    def test_an_embedding_that_is_not_finite(self, encoder, tmp_path):
        np.savez(tmp_path / "a.npz", x_train=np.zeros((3, 8, 8), np.uint8))

        class Broken:
            def __getattr__(self, name):
                return getattr(encoder, name)

            def __call__(self, batch):
                return np.float32([[1] * 5, [np.nan] * 5, [2] * 5]), np.full(
                    3, True
                )

        output = tmp_path / "a.parquet"
        summary = embedding.run(Broken(), opened(tmp_path / "a.npz"), output)
        assert summary.bad == [("train[1]", "the embedding is not finite")]
        assert together(output)[-1][:, 0].tolist() == [1, 0, 2]


class TestResume:
    @pytest.mark.parametrize("ending", [".parquet", ".npz", ".csv"])
    def test_gives_the_same_bytes(
        self, ending, whole, encoder, images, tmp_path, monkeypatch
    ):
        output = tmp_path / f"all{ending}"
        monkeypatch.setattr(bulk, "_APPEND_IMAGES", 6)
        calls = []

        def killed(encoder, batch):
            calls.append(len(batch))
            if len(calls) == 4:
                raise KeyboardInterrupt
            return encoder(batch)

        with monkeypatch.context() as patch:
            patch.setattr(bulk, "_outputs", killed)
            with pytest.raises(KeyboardInterrupt):
                embedding.run(encoder, images, output, batch_size=4)
        assert not output.exists()
        # As if killed while writing.
        with open(f"{output}.parts/rows.bin", "ab") as file:
            file.write(b"half a row")
        summary = embedding.run(encoder, images, output, batch_size=4)
        assert 0 < summary.num_before < NUM
        assert output.read_bytes() == whole[ending].read_bytes()
        assert not os.path.exists(f"{output}.parts")

    def test_rows_that_were_lost_are_made_again(self, parquet, encoder, images):
        output = parquet[0].with_name("again.parquet")
        unfinished = bulk.Unfinished(output, small.NUM_FEATURES)
        unfinished.begin(bulk._settings(encoder, images))
        unfinished.append(np.zeros(9, unfinished.dtype))
        unfinished.release()
        rows = unfinished.folder / "rows.bin"
        rows.write_bytes(rows.read_bytes()[:-7])
        summary = embedding.run(encoder, images, output, batch_size=4)
        assert summary.num_before == 8
        found, expected = together(output)[-1], together(parquet[0])[-1]
        np.testing.assert_allclose(found[8:], expected[8:], atol=1e-6)

    def test_other_settings_are_refused(self, encoder, images, tmp_path):
        output = tmp_path / "all.npz"
        parts = tmp_path / "all.npz.parts"
        parts.mkdir()
        before = bulk._settings(encoder, images) | {"image_size": [9, 9]}
        state = {"settings": before, "num_rows": 3}
        (parts / "state.json").write_text(json.dumps(state))
        (parts / "rows.bin").write_bytes(bytes(1000))
        with pytest.raises(ValueError, match=r"was \[9, 9\], now \[8, 8\]"):
            embedding.run(encoder, images, output)
        summary = embedding.run(encoder, images, output, overwrite=True)
        assert summary.num_before == 0
        with pytest.raises(ValueError, match="must not exist"):
            embedding.run(encoder, images, output)

    def test_two_at_once(self, encoder, images, tmp_path):
        output = tmp_path / "all.npz"
        other = bulk.Unfinished(output, small.NUM_FEATURES)
        other.begin({})
        with pytest.raises(BlockingIOError, match="another process"):
            embedding.run(encoder, images, output)
        other.release()


class TestFormats:
    @pytest.mark.parametrize("ending", [".npz", ".csv"])
    def test_agree(self, whole, ending):
        output = whole[ending]
        for found, expected in zip(
            together(output), together(whole[".parquet"]), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
        if ending == ".npz":
            arrays = np.load(output)
            assert arrays["embeddings"].shape == (NUM + 1, 5)
            assert arrays["valid"].sum() == NUM - 1
            assert json.loads(str(arrays["metadata"]))["num_bad"] == 2
        else:
            header = output.read_text().split("\n")[0]
            assert header.endswith('"e3","e4"')

    @pytest.mark.parametrize("ending", [".parquet", ".npz", ".csv"])
    @pytest.mark.parametrize("damage", ["cut", "other"])
    def test_damaged_files(self, ending, damage, parquet, tmp_path):
        path = tmp_path / f"a{ending}"
        content = parquet[0].read_bytes()[:-100]
        path.write_bytes(content if damage == "cut" else b"a,b\n1,2\n")
        with pytest.raises(ValueError, match=str(path)):
            list(embedding.read(path))


class TestEncoders:
    def test_a_saved_model(self, parquet, model, images, tmp_path):
        saved_model.export_saved_model(
            model, tmp_path / "served" / "1", image_size=small.SIZE
        )
        served = embedding.load(tmp_path / "served" / "1")
        output = tmp_path / "all.parquet"
        embedding.run(served, images, output, batch_size=4)
        found, expected = together(output), together(parquet[0])
        np.testing.assert_allclose(found[-1], expected[-1], atol=1e-5)
        np.testing.assert_array_equal(found[3] == "", expected[3] == "")
        pixels = tf.constant(small_pixels())
        np.testing.assert_allclose(
            served(pixels)[0],
            model(pixels / 255, training=False),
            atol=1e-5,
        )

    def test_problems(self, encoder, tmp_path):
        with pytest.raises(ValueError, match="which does not exist"):
            embedding.load(tmp_path / "nothing")
        with pytest.raises(ValueError, match="8 x 8. Received: image_size=9"):
            embedding.load(encoder.path, 9)
        (tmp_path / "a.keras").write_bytes(b"PK\5\6" + bytes(18))
        with pytest.raises(ValueError, match="`encoder` must be a run's"):
            embedding.load(tmp_path / "a.keras")


def small_pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
