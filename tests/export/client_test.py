import sys
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.export import Client
from simclr_keras.export import client_errors
from simclr_keras.export import client_grpc
from simclr_keras.export import client_rest
from tests.export import small_model

IMAGES = small_model.pixels(5)
FLOATS = (IMAGES / 255).astype(np.float32)
NOWHERE = "localhost:9"
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture(params=["grpc", "rest"])
def address(request, server, rest):
    return server.address if request.param == "grpc" else rest.address


def assert_close(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name].dtype == value.dtype, name
        np.testing.assert_allclose(
            actual[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )


class TestEmbed:
    @pytest.mark.parametrize("images", [IMAGES, FLOATS])
    def test_answers_as_the_model_does(self, address, signatures, images):
        suffix = "_uint8" if images.dtype == np.uint8 else ""
        given = tf.constant(images)
        client = Client(address)
        assert_close(
            client.embed(images), signatures[f"embed{suffix}"](images=given)
        )
        assert_close(
            client.classify(images),
            signatures[f"classify{suffix}"](images=given),
        )

    def test_any_number_in_bounded_requests(self, server, signatures):
        images = small_model.pixels(10)
        answer = Client(server.address, batch_size=4).embed(images)
        assert [rows for _, rows, _ in server.requests] == [4, 4, 2]
        expected = signatures["embed_uint8"](images=tf.constant(images))
        assert_close(answer, expected)

    def test_sizes_and_dtypes_may_be_mixed(self, server, signatures):
        shapes = [(20, 30), (9, 9), (20, 30), (1, 50), (9, 9)]
        images = [
            small_model.pixels(1, *shape, seed=row)[0]
            for row, shape in enumerate(shapes)
        ]
        images[2] = images[2] / 255
        answer = Client(server.address).embed(images)
        assert len(server.requests) == 4
        for row, image in enumerate(images):
            image = tf.constant(np.round(image * 255) if row == 2 else image)
            alone = signatures["embed_uint8"](
                images=tf.cast(image, tf.uint8)[None]
            )
            np.testing.assert_allclose(
                answer["embedding"][row], alone["embedding"][0], atol=1e-5
            )

    def test_large_images_make_smaller_requests(self, server, monkeypatch):
        client = Client(server.address)
        limit = 2 * IMAGES[0].nbytes
        monkeypatch.setattr(client._transport, "max_request_bytes", limit)
        client.embed(IMAGES)
        client.embed_bytes([b"x" * limit] * 2)
        assert [rows for _, rows, _ in server.requests] == [2, 2, 1, 1, 1]

    @pytest.mark.parametrize(
        "images,message",
        [
            ([], "at least one image"),
            (IMAGES[0], r"shape \(30, 3\) in row 0"),
            (IMAGES[..., 0], r"shape \(20, 30\)"),
            (IMAGES[..., :1], "must be .h, w, 3."),
            (IMAGES[:, :0], "must be .h, w, 3."),
            (IMAGES.astype(np.int32), "int32"),
            (["cat.jpg"], "<U7"),
            ([IMAGES[0], IMAGES[1] / 1.0], "255 in row 1"),
            (FLOATS - 1, r"must be in \[0, 1\].*Received: -1"),
        ],
    )
    def test_mistakes(self, server, images, message):
        with pytest.raises(ValueError, match=message):
            Client(server.address).embed(images)
        assert not server.requests

    def test_nan_stays_in_its_row(self, address):
        images = FLOATS.copy()
        images[1, 0, 0, 0] = np.nan
        answer = Client(address).embed(images)["embedding"]
        good = Client(address).embed(FLOATS)["embedding"]
        np.testing.assert_allclose(answer[[0, 2]], good[[0, 2]], rtol=1e-5)


class TestFiles:
    def test_bad_ones_are_kept_in_their_place(self, address, tmp_path):
        paths = [tmp_path / f"{name}.png" for name in "abcdef"]
        for path, image in zip(paths[:4], IMAGES, strict=False):
            path.write_bytes(small_model.file(image))
        paths[1].write_bytes(b"no image")
        paths[2].write_bytes(paths[3].read_bytes()[:200])
        paths[4].mkdir()
        client = Client(address, batch_size=2)
        answer = client.embed_files(paths)
        assert answer["path"] == [str(path) for path in paths]
        assert answer["valid"].tolist() == [True, False, False, True] + 2 * [
            False
        ]
        assert answer["error"] == [
            "",
            "no image that the server can read",
            "no image that the server can read",
            "",
            "no file",
            "No such file or directory",
        ]
        expected = client.embed(IMAGES[[0, 3]])["embedding"]
        np.testing.assert_allclose(
            answer["embedding"][[0, 3]], expected, rtol=1e-5, atol=1e-6
        )
        assert not np.any(answer["embedding"][[1, 2, 4, 5]])
        assert answer["probabilities"].shape == (6, small_model.CLASSES)

    def test_contents(self, server):
        content = small_model.file(IMAGES[0])
        client = Client(server.address)
        answer = client.embed_bytes([content, b""])
        assert answer["valid"].tolist() == [True, False]
        for given in (["http://x/cat.jpg"], content, [None]):
            with pytest.raises(ValueError, match="must be bytes"):
                client.embed_bytes(given)

    def test_a_name_alone(self, server):
        with pytest.raises(ValueError, match="must be a list"):
            Client(server.address).embed_files("cat.jpg")

    def test_huge_files_are_not_read(self, server, tmp_path):
        path = tmp_path / "huge.png"
        with open(path, "wb") as file:
            file.truncate(2**40)
        answer = Client(server.address).embed_files([path])
        assert answer["error"] == ["larger than 268,435,456 bytes"]


class TestFailures:
    def test_nobody_there(self):
        for address in (NOWHERE, f"http://{NOWHERE}"):
            client = Client(address, retries=1)
            with pytest.raises(
                client_errors.Unavailable, match="Is the server running"
            ):
                client.embed(IMAGES)

    def test_repeats_when_unavailable(self, address, server):
        server.faults[:] = [UNAVAILABLE] * 2
        began = time.monotonic()
        answer = Client(address, retries=2).embed(IMAGES)
        assert answer["embedding"].shape == (5, small_model.FEATURES)
        # Half of 0.1 and half of 0.2 seconds at least.
        assert time.monotonic() - began > 0.15

    def test_gives_up_after_the_last_attempt(self, address, server):
        server.faults[:] = [UNAVAILABLE] * 4
        with pytest.raises(client_errors.Unavailable, match="on purpose"):
            Client(address, retries=2).embed(IMAGES)
        assert len(server.faults) == 1

    @pytest.mark.parametrize(
        "code,error",
        [
            ("INVALID_ARGUMENT", client_errors.Refused),
            ("NOT_FOUND", client_errors.NotFound),
            ("RESOURCE_EXHAUSTED", client_errors.ServingError),
            ("INTERNAL", client_errors.ServingError),
        ],
    )
    def test_other_errors_are_not_repeated(self, address, server, code, error):
        server.faults[:] = [grpc.StatusCode[code]] * 2
        with pytest.raises(error, match="on purpose"):
            Client(address).embed(IMAGES)
        assert len(server.faults) == 1

    def test_deadline(self, address, server):
        server.delay = 0.5
        began = time.monotonic()
        with pytest.raises(
            client_errors.DeadlineExceeded, match="did not answer within 0.1 s"
        ):
            Client(address, timeout=0.1).embed(IMAGES)
        assert time.monotonic() - began < 0.4

    def test_repetitions_end_at_the_deadline(self):
        began = time.monotonic()
        with pytest.raises(client_errors.Unavailable):
            Client(NOWHERE, retries=100, timeout=0.5).embed(IMAGES)
        assert time.monotonic() - began < 2

    def test_no_such_model_or_version(self, address):
        with pytest.raises(client_errors.NotFound, match="no model 'other'"):
            Client(address, model="other").embed(IMAGES)
        with pytest.raises(client_errors.NotFound, match="of version 9"):
            Client(address, version=9).embed(IMAGES)
        assert Client(address, version=1).embed(IMAGES)

    def test_no_such_signature(self, server, rest):
        for transport in (
            client_grpc.GrpcTransport(server.address, "encoder", None),
            client_rest.RestTransport(rest.address, "encoder", None),
        ):
            with pytest.raises(
                client_errors.Refused, match="nothing: .* exists only if"
            ):
                transport.predict("nothing", {"images": IMAGES}, 5)

    def test_another_kind_of_server(self, server, rest):
        address = server.address
        for wrong in (f"http://{address}", rest.address[len("http://") :]):
            with pytest.raises(client_errors.Unavailable, match="8501"):
                Client(wrong, retries=0, timeout=2).embed(IMAGES)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"address": "localhost"},
            {"address": "http://"},
            {"address": "grpc://localhost:8500"},
            {"batch_size": 0},
            {"retries": -1},
            {"timeout": 0},
        ],
    )
    def test_arguments(self, arguments):
        (name,) = arguments
        arguments = {"address": NOWHERE} | arguments
        with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}="):
            Client(arguments.pop("address"), **arguments)

    def test_without_the_protos(self, server, rest, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
        with pytest.raises(ImportError, match=r"simclr-keras\[serving\]"):
            Client(server.address)
        assert Client(rest.address).embed(IMAGES)
