"""The images whose embeddings are most similar to that of one image."""

import heapq
import os
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors

from simclr_keras.embedding.files import Rows


class Neighbor(NamedTuple):
    """One image.

    Attributes:
        path: str.
        class_name: name or number of its class, empty if not known.
        similarity: cosine similarity to the query, in [-1, 1].
    """

    path: str
    class_name: str
    similarity: float


def nearest(
    query: np.ndarray, rows: Iterable[Rows], k: int, *, without: str | None
) -> list[Neighbor]:
    """The `k` nearest images by cosine similarity, the nearest first.

    Exact: scikit-learn's brute force over some rows at a time, so the
    embeddings need not fit into memory.

    Args:
        query: [F] float.
        rows: as `files.read` gives them; those that are not valid, and whose
            path is `without`, are left out.
        k: int, at least 1; fewer are found if there are fewer rows.
        without: path of the query itself, or None.

    Raises:
        ValueError: if the embeddings have another length than the query.
    """
    found = []
    for chunk in rows:
        if chunk.embeddings.shape[1] != len(query):
            raise ValueError(
                "`query` must come from the encoder of the embeddings, which "
                f"have {chunk.embeddings.shape[1]} features. Received: a query "
                f"of {len(query)}"
            )
        usable = np.flatnonzero(
            (np.asarray(chunk.errors) == "") & (chunk.paths != without)
        )
        if len(usable):
            found = heapq.nlargest(
                k,
                [*found, *_of_chunk(query, chunk, usable, k)],
                key=lambda neighbor: neighbor.similarity,
            )
    return found


def embedding_of(path: str, rows: Iterable[Rows]):
    """(path as it is written in the rows, its embedding), or None.

    Args:
        path: of an image; a file may be given relative to here.
        rows: as `files.read` gives them.

    Raises:
        ValueError: if there is such a row, but without an embedding.
    """
    names = [path, os.path.abspath(path)]
    for chunk in rows:
        for place in np.flatnonzero(np.isin(chunk.paths.astype(str), names)):
            if chunk.errors[place]:
                raise ValueError(
                    "the image must have an embedding. "
                    f"Received: {path}, {chunk.errors[place]}"
                )
            return str(chunk.paths[place]), chunk.embeddings[place]
    return None


def _of_chunk(query, chunk, usable, k):
    search = NearestNeighbors(n_neighbors=min(k, len(usable)), metric="cosine")
    search.fit(chunk.embeddings[usable])
    [distances], [places] = search.kneighbors(query[None])
    for distance, row in zip(distances, usable[places], strict=True):
        yield Neighbor(
            str(chunk.paths[row]), _class_name(chunk, row), 1 - float(distance)
        )


def _class_name(chunk, row):
    if chunk.labels[row] < 0:
        return ""
    if chunk.class_names is None:
        return str(chunk.labels[row])
    return str(chunk.class_names[row])
