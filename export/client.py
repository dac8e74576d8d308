"""Embeddings and classes from a model that TensorFlow Serving runs.

    with Client("localhost:8500", model="encoder") as client:
        client.embed_files(["cat.jpg", "dog.png"])["embedding"]

gRPC needs `pip install 'simclr-keras[serving]'`; REST, with an address like
"http://localhost:8501", needs NumPy alone.
"""

import itertools
import os
import random
import re
import stat
import time
from collections.abc import Iterable
from collections.abc import Iterator

import numpy as np

from simclr_keras.export import client_errors
from simclr_keras.export.client_grpc import GrpcTransport
from simclr_keras.export.client_rest import RestTransport

# A request must stay below 2 GB; photos have a hundredth of this.
MAX_FILE_BYTES = 2**28

_ADDRESS = re.compile(r"(https?://[^/\s]+/?|[^/\s:]+:\d+|\[[^\]\s]+\]:\d+)")
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


class Client:
    """Asks a server, a batch at a time, and may be used by several threads.

    Args:
        address: "host:port" for gRPC, "http://host:port" for REST.
        model: the server's name of the model.
        version: int of at least 0; by default the server chooses.
        batch_size: the most images in a request, at least 1 and not above the
            server's `max_batch_size`. Large images make smaller batches.
        timeout: seconds for the answer to a request, repetitions included.
        retries: how often a request is repeated, at least 0, if the server
            is not there or busy (UNAVAILABLE, 503), and for no other error.
            Pauses grow from 0.1 s to 2 s.

    Raises:
        ValueError: for an argument out of range.
        ImportError: if gRPC is not installed.
    """

    def __init__(
        self,
        address: str,
        *,
        model: str = "encoder",
        version: int | None = None,
        batch_size: int = 64,
        timeout: float = 30.0,
        retries: int = 4,
    ):
        if not _ADDRESS.fullmatch(address):
            raise ValueError(
                "`address` must be host:port, or http://host:port. "
                f"Received: address={address!r}"
            )
        _at_least("batch_size", batch_size, 1)
        _at_least("retries", retries, 0)
        if not timeout > 0:
            raise ValueError(
                f"`timeout` must be above 0. Received: timeout={timeout}"
            )
        self._batch_size, self._retries = batch_size, retries
        self._timeout = timeout
        is_rest = address.startswith("http")
        transport = RestTransport if is_rest else GrpcTransport
        self._transport = transport(address, model, version)

    def embed(self, images: Iterable) -> dict[str, np.ndarray]:
        """Embeddings of images.

        Args:
            images: B of them: [B, h, w, 3], or a list of [h, w, 3] of any
                sizes; uint8, or float in [0, 1].

        Returns:
            "embedding" [B, F] float32, with a projection head "projection"
            [B, D]; row i belongs to image i.

        Raises:
            ValueError: for other images or none at all, before any is sent.
            client_errors.ServingError: if the server does not answer.
        """
        return self._ask_images("embed", images)

    def classify(self, images: Iterable) -> dict[str, np.ndarray]:
        """As `embed`: "probabilities" [B, K], "classes" and "scores" [B, k].

        The most probable class comes first.
        """
        return self._ask_images("classify", images)

    def embed_bytes(self, contents: Iterable[bytes]) -> dict[str, np.ndarray]:
        """Embeddings of the contents of B image files, as of an upload.

        Returns:
            "valid" [B] bool, False where there is no image that the server
            can read, with zeros in all other rows; "embedding" [B, F]; with a
            probe also what `classify` returns.

        Raises:
            as `embed`.
        """
        contents = _rows("contents", contents)
        for row, content in enumerate(contents):
            if not isinstance(content, bytes):
                raise ValueError(
                    "`contents` must be bytes, as open(path, 'rb').read() "
                    f"returns. Received: {content!r:.80} in row {row}"
                )
        sizes = [len(content) for content in contents]
        return _stacked(
            self._ask("serving_default", {"image_bytes": contents[batch]})
            for batch in self._batches(sizes)
        )

    def embed_files(self, paths: Iterable[str | os.PathLike]) -> dict:
        """As `embed_bytes`, of files; those that cannot be read are kept.

        Returns:
            What `embed_bytes` does, and "path" and "error", lists of B str:
            why a row is not valid, "" where it is.

        Raises:
            ValueError: without any path, or for one alone in place of a list.
            client_errors.ServingError: if the server does not answer.
        """
        batches = list(self.stream_files(paths))
        texts = {
            name: list(itertools.chain(*(batch.pop(name) for batch in batches)))
            for name in ("path", "error")
        }
        return texts | _stacked(batches)

    def stream_files(
        self, paths: Iterable[str | os.PathLike]
    ) -> Iterator[dict]:
        """As `embed_files`, a batch at a time, for any number of files."""
        if isinstance(paths, (str, os.PathLike)):
            raise ValueError(
                f"`paths` must be a list of them. Received: paths={paths!r}"
            )
        limit = self._transport.max_request_bytes
        names, errors, contents, num_bytes = [], [], [], 0
        for path in paths:
            content, error = _read(path)
            is_full = len(names) == self._batch_size
            if names and (is_full or num_bytes + len(content) > limit):
                yield self._answer_files(names, errors, contents)
                names, errors, contents, num_bytes = [], [], [], 0
            names.append(os.fspath(path))
            errors.append(error)
            contents.append(content)
            num_bytes += len(content)
        if names:
            yield self._answer_files(names, errors, contents)

    def close(self):
        """Ends the connection."""
        self._transport.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _answer_files(self, names, errors, contents):
        answer = self._ask("serving_default", {"image_bytes": contents})
        errors = [
            error or ("" if valid else "no image that the server can read")
            for error, valid in zip(errors, answer["valid"], strict=True)
        ]
        return {"path": names, "error": errors} | answer

    def _ask_images(self, signature, images):
        images = [
            _image(row, image)
            for row, image in enumerate(_rows("images", images))
        ]
        groups = {}
        for row, image in enumerate(images):
            groups.setdefault((image.shape, image.dtype), []).append(row)
        order, answers = [], []
        for (_, dtype), rows in groups.items():
            suffix = "_uint8" if dtype == np.uint8 else ""
            for batch in self._batches([images[row].nbytes for row in rows]):
                batch = np.stack([images[row] for row in rows[batch]])
                answers.append(self._ask(signature + suffix, {"images": batch}))
            order += rows
        places = np.argsort(order)
        return {
            name: value[places] for name, value in _stacked(answers).items()
        }

    def _batches(self, sizes):
        """Slices of rows that make one request; `sizes` are their bytes."""
        start, num_bytes = 0, 0
        for row, size in enumerate(sizes):
            num_bytes += size
            is_full = row - start == self._batch_size
            too_large = num_bytes > self._transport.max_request_bytes
            if row > start and (is_full or too_large):
                yield slice(start, row)
                start, num_bytes = row, size
        if sizes:
            yield slice(start, len(sizes))

    def _ask(self, signature, inputs):
        deadline = time.monotonic() + self._timeout
        for pause in [*_pauses(self._retries), None]:
            left = deadline - time.monotonic()
            try:
                answer = self._transport.predict(signature, inputs, left)
                break
            except client_errors.Unavailable:
                left = deadline - time.monotonic()
                if pause is None or pause >= left:
                    raise
                time.sleep(pause)
        (rows,) = map(len, inputs.values())
        for name, value in answer.items():
            if value.shape[:1] != (rows,):
                raise client_errors.ServingError(
                    f"the server answered {rows} images with {name} of shape "
                    f"{value.shape}: is it a model of simclr-export?"
                )
        return answer


def _pauses(count):
    """Seconds between attempts; chance keeps clients from coming at once."""
    for attempt in range(count):
        pause = min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
        yield pause * random.uniform(0.5, 1.0)


def _rows(name, given):
    try:
        return list(given)
    except TypeError as error:
        raise ValueError(
            f"`{name}` must be a list or an array. Received: {given!r:.80}"
        ) from error


def _image(row, image):
    image = np.asarray(image)
    is_image = image.ndim == 3 and image.shape[-1] == 3 and image.size
    if not is_image or not (
        image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating)
    ):
        raise ValueError(
            "`images` must be [h, w, 3] each, uint8 or float in [0, 1]. "
            f"Received: {image.dtype} of shape {image.shape} in row {row}"
        )
    if image.dtype == np.uint8:
        return image
    image = image.astype(np.float32, copy=False)
    # The server would clip them: white images instead of an error.
    if image.min() < 0 or image.max() > 1:
        raise ValueError(
            "`images` of floats must be in [0, 1]; give 0 to 255 as uint8. "
            f"Received: {image.min():g} to {image.max():g} in row {row}"
        )
    return image


def _read(path):
    """(content of a file, ""), or (b"", why it has none)."""
    try:
        found = os.stat(path)
        # Others, as a pipe, may never end.
        if not stat.S_ISREG(found.st_mode):
            return b"", "no file"
        if found.st_size > MAX_FILE_BYTES:
            return b"", f"larger than {MAX_FILE_BYTES:,} bytes"
        with open(path, "rb") as file:
            return file.read(), ""
    except (OSError, ValueError) as error:
        return b"", getattr(error, "strerror", None) or str(error)


def _stacked(answers):
    answers = list(answers)
    if not answers:
        raise ValueError("there must be at least one image. Received: none")
    return {
        name: np.concatenate([answer[name] for answer in answers])
        for name in answers[0]
    }


def _at_least(name, value, least):
    if value < least:
        raise ValueError(
            f"`{name}` must be at least {least}. Received: {name}={value}"
        )
