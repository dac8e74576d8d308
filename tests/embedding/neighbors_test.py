import numpy as np
import pytest

from simclr_keras import embedding
from simclr_keras.embedding.files import Rows


def rows(count=50, chunk=7):
    """Chunks of rows; two of them have no embedding."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    paths = np.array([f"/{number}.png" for number in range(count)])
    labels = np.arange(count) % 3 - 1
    errors = np.full(count, "", "<U9")
    errors[[3, 4]] = "cut off"
    x[[3, 4]] = 0
    names = np.array(["a", "b", "c"])[labels]
    return [
        Rows(*(field[start : start + chunk] for field in fields))
        for fields in [(paths, labels, names, errors, x)]
        for start in range(0, count, chunk)
    ]


class TestNearest:
    def test_equals_numpy(self):
        x = np.concatenate([chunk.embeddings for chunk in rows()])
        name, query = embedding.embedding_of("/0.png", rows())
        found = embedding.nearest(query, rows(), 12, without=name)
        norms = np.maximum(np.linalg.norm(x, axis=1), 1e-9)
        cosine = x @ x[0] / norms / norms[0]
        cosine[[0, 3, 4]] = -2
        order = np.argsort(-cosine)[:12]
        assert [one.path for one in found] == [f"/{row}.png" for row in order]
        np.testing.assert_allclose(
            [one.similarity for one in found], cosine[order], atol=1e-6
        )
        names = ["" if row % 3 == 0 else "ab"[row % 3 - 1] for row in order]
        assert [one.class_name for one in found] == names

    def test_fewer_than_asked(self):
        found = embedding.nearest(np.ones(4), rows(), 99, without=None)
        assert len(found) == 48

    def test_another_encoder(self):
        with pytest.raises(ValueError, match="have 4 features. .* query of 3"):
            embedding.nearest(np.ones(3), rows(), 1, without=None)


class TestEmbeddingOf:
    def test_unknown(self):
        assert embedding.embedding_of("/x.png", rows()) is None

    def test_without_an_embedding(self):
        with pytest.raises(ValueError, match="Received: /3.png, cut off"):
            embedding.embedding_of("/3.png", rows())
