import numpy as np
import pytest
import tensorflow_datasets as tfds

from simclr_keras import data
from simclr_keras import embedding
from tests.embedding import small

COUNT, SHARDS = 12, 3


class EmbeddedRecords(tfds.core.GeneratorBasedBuilder):
    """An image tells its number by its brightness."""

    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = None

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "label": tfds.features.ClassLabel(names=["a", "b"]),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, download_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(COUNT):
            image = np.full((8, 8, 3), index * 20, np.uint8)
            yield index, {"image": image, "label": index % 2}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "encoder.keras"
    small.means().save(path)
    return embedding.load(path)


@pytest.fixture
def data_dir(tmp_path):
    builder = tfds.builder("embedded_records", data_dir=str(tmp_path))
    config = tfds.download.DownloadConfig(num_shards=SHARDS)
    builder.download_and_prepare(download_config=config)
    return tmp_path


def embedded(encoder, data_dir):
    """(numbers that the embeddings tell, labels, errors)."""
    source = data.open_source(
        "embedded_records", data_dir=str(data_dir), whole=True
    )
    output = data_dir / "all.parquet"
    embedding.run(encoder, embedding.Images(source), output, batch_size=5)
    [chunk] = embedding.read(output)
    assert chunk.paths.tolist() == [f"train[{n}]" for n in range(COUNT)]
    numbers = np.rint(chunk.embeddings[:, 0] * 255 / 20).astype(int)
    return numbers, chunk.labels, chunk.errors


class TestRecords:
    def test_a_damaged_file_shifts_nothing(self, encoder, data_dir):
        order, labels, errors = embedded(encoder, data_dir)
        assert sorted(order) == list(range(COUNT))
        assert (labels == order % 2).all()
        assert not errors.any()
        (data_dir / "all.parquet").unlink()
        [path] = data_dir.glob(f"*/*/*.tfrecord-00001-of-0000{SHARDS}")
        content = bytearray(path.read_bytes())
        # Behind a length and its checksum: inside the first record.
        content[20] ^= 255
        path.write_bytes(content)
        numbers, labels, errors = embedded(encoder, data_dir)
        lost = errors != ""
        assert set(errors[lost]) == {"cannot be read"}
        # All of its file; what is before and behind keeps its place.
        assert np.flatnonzero(lost).tolist() == [4, 5, 6, 7]
        assert (numbers[~lost] == order[~lost]).all()
        assert (labels[~lost] == order[~lost] % 2).all()

    def test_a_file_whose_first_record_is_damaged(self, encoder, data_dir):
        [path] = data_dir.glob(f"*/*/*.tfrecord-00000-of-0000{SHARDS}")
        path.write_bytes(path.read_bytes()[:20])
        with pytest.raises(ValueError, match="be readable. Received: train of"):
            embedded(encoder, data_dir)

    def test_a_missing_file(self, encoder, data_dir):
        [path] = data_dir.glob(f"*/*/*.tfrecord-00002-of-0000{SHARDS}")
        path.unlink()
        with pytest.raises(FileNotFoundError):
            embedded(encoder, data_dir)
