"""`docs/bad_inputs.md` says what becomes of bad inputs; this is whether."""

import base64
import json
import pathlib
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from simclr_keras.export import Client
from tests.export import odd_images
from tests.export import small_model

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "bad_inputs.md"
FILES = odd_images.BAD | odd_images.GOOD

IMAGES = small_model.pixels(3)
FLOATS = (IMAGES / 255).astype(np.float32)
PNG = odd_images.PNG


def with_pixel(value):
    images = FLOATS.copy()
    images[1, 4, 4] = value
    return images


# name -> (signature, inputs by name)
TENSORS = {
    "another signature": ("predict", {"images": FLOATS}),
    "another name of the input": ("embed", {"image": FLOATS}),
    "no input": ("embed", {}),
    "one input too many": ("embed", {"images": FLOATS, "size": FLOATS}),
    "one image without a batch": ("embed", {"images": FLOATS[0]}),
    "a batch of batches": ("embed", {"images": FLOATS[None]}),
    "a number": ("embed", {"images": np.float32(0.5)}),
    "a flat vector": ("embed", {"images": FLOATS.ravel()}),
    "grey, rank 3": ("embed", {"images": FLOATS[..., 0]}),
    "grey, one channel": ("embed", {"images": FLOATS[..., :1]}),
    "four channels": (
        "embed",
        {"images": np.concatenate([FLOATS, FLOATS[..., :1]], -1)},
    ),
    "channels first": ("embed", {"images": np.moveaxis(FLOATS, -1, 1)}),
    "uint8 to embed": ("embed", {"images": IMAGES}),
    "float32 to embed_uint8": ("embed_uint8", {"images": FLOATS}),
    "float64": ("embed", {"images": FLOATS.astype(np.float64)}),
    "float16": ("embed", {"images": FLOATS.astype(np.float16)}),
    "int32": ("embed_uint8", {"images": IMAGES.astype(np.int32)}),
    "uint16": ("embed_uint8", {"images": IMAGES.astype(np.uint16)}),
    "bool": ("embed", {"images": FLOATS > 0.5}),
    "files to embed": ("embed", {"images": np.array([PNG], object)}),
    "no rows": ("embed", {"images": FLOATS[:0]}),
    "no rows, files": (
        "serving_default",
        {"image_bytes": np.array([], object)},
    ),
    "no height": ("embed", {"images": FLOATS[:, :0]}),
    "no width": ("embed_uint8", {"images": IMAGES[:, :, :0]}),
    "one pixel": ("embed", {"images": FLOATS[:, :1, :1]}),
    "4096 x 1 pixels": (
        "embed_uint8",
        {"images": small_model.pixels(2, 4096, 1)},
    ),
    "2048 x 2048 pixels": (
        "embed_uint8",
        {"images": np.zeros((1, 2048, 2048, 3), np.uint8)},
    ),
    "1000 rows": ("embed_uint8", {"images": small_model.pixels(1000)}),
    "1000 files": (
        "serving_default",
        {"image_bytes": np.array([PNG, b"bad"] * 500, object)},
    ),
    "NaN in one image": ("embed", {"images": with_pixel(np.nan)}),
    "infinity in one image": ("embed", {"images": with_pixel(np.inf)}),
    "0 to 255 as floats": ("embed", {"images": FLOATS * 255}),
    "-1 to 1": ("embed", {"images": FLOATS * 2 - 1}),
    "1e38": ("embed", {"images": with_pixel(1e38)}),
    "one file without a batch": (
        "serving_default",
        {"image_bytes": np.array(PNG, object)},
    ),
    "a matrix of files": (
        "serving_default",
        {"image_bytes": np.array([[PNG], [PNG]], object)},
    ),
    "the bytes of a file as uint8": (
        "serving_default",
        {"image_bytes": np.frombuffer(PNG, np.uint8)},
    ),
    "pixels as image_bytes": ("serving_default", {"image_bytes": IMAGES}),
}
B64 = {"b64": base64.b64encode(PNG).decode()}
# name -> body, or (body, path)
BODIES = {
    "no JSON": b"{",
    "a file as the body": PNG,
    "an empty body": b"",
    "a list": [B64],
    "neither instances nor inputs": {"images": [B64]},
    "both instances and inputs": {"instances": [B64], "inputs": [B64]},
    "no rows": {"instances": []},
    "null": {"instances": None},
    "b64 that is no Base64": {"instances": [{"b64": "@@@"}]},
    "Base64 without b64": {"instances": [B64["b64"]]},
    "a URL in place of a file": {"instances": ["https://example.com/cat.jpg"]},
    "a number in place of a file": {"instances": [7]},
    "another name of the input": {"instances": [{"image": B64}]},
    "rows with different names": {"instances": [{"image_bytes": B64}, {}]},
    "one bad file of two": {
        "instances": [B64, {"b64": base64.b64encode(b"bad").decode()}]
    },
    "images of different sizes": {
        "signature_name": "embed",
        "instances": [FLOATS[0].tolist(), FLOATS[0, 1:].tolist()],
    },
    "an image as text": {"signature_name": "embed", "instances": ["grey"]},
    "floats to embed_uint8": {
        "signature_name": "embed_uint8",
        "instances": FLOATS.tolist(),
    },
    "NaN": {"signature_name": "embed", "instances": with_pixel(1).tolist()},
    "another signature": {"signature_name": "predict", "instances": [B64]},
    "another model": ({"instances": [B64]}, "other:predict"),
    "another version": ({"instances": [B64]}, "encoder/versions/9:predict"),
    "another verb": ({"instances": [B64]}, "encoder:embed"),
}


def rows(title):
    """First cell -> the others, in the table below a heading of the page."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    table = [x for x in section.splitlines() if x.startswith("|")][2:]
    cells = [[x.strip() for x in row.strip("|").split("|")] for row in table]
    return {first: others for first, *others in cells}


@pytest.fixture(scope="module")
def served(small_saved_model):
    """Every file in a batch, good files between them."""
    loaded = tf.saved_model.load(small_saved_model)
    serve = loaded.signatures["serving_default"]
    batch = [x for content in FILES.values() for x in (content, PNG)]
    answer = serve(image_bytes=tf.constant(batch))
    valid, good = answer["valid"].numpy(), answer["embedding"].numpy()
    assert valid[1::2].all()
    np.testing.assert_allclose(good[1::2], good[1:2].repeat(len(FILES), 0))
    return dict(zip(FILES, valid[::2].tolist(), strict=True))


@pytest.fixture(scope="module")
def asked(small_saved_model, _server, tmp_path_factory):
    """The same through the client, from files."""
    folder = tmp_path_factory.mktemp("files")
    paths = [folder / str(number) for number in range(len(FILES))]
    for path, content in zip(paths, FILES.values(), strict=True):
        path.write_bytes(content)
    answer = Client(_server.address, batch_size=8).embed_files(paths)
    return dict(zip(FILES, answer["valid"].tolist(), strict=True))


class TestFiles:
    def test_all_are_told(self):
        assert list(rows("Files")) == list(FILES)

    @pytest.mark.parametrize("name", FILES)
    def test_serving_default(self, served, name):
        said = rows("Files")[name][0]
        assert said == ("answered" if served[name] else "valid = false")

    @pytest.mark.parametrize("name", FILES)
    def test_client(self, asked, name):
        said = rows("Files")[name][1]
        assert said == ("answered" if asked[name] else "valid = false")


class TestTensors:
    def test_all_are_told(self):
        assert list(rows("Tensors over gRPC")) == list(TENSORS)

    @pytest.mark.parametrize("name", TENSORS)
    def test_server(self, server, name):
        said = rows("Tensors over gRPC")[name][0]
        signature, inputs = TENSORS[name]
        message = predict_pb2.PredictRequest()
        message.model_spec.name = "encoder"
        message.model_spec.signature_name = signature
        for key, value in inputs.items():
            message.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        assert said.split(";")[0] == outcome(server.address, message)
        # It answers others as before.
        answer = Client(server.address).embed(IMAGES)["embedding"]
        assert answer.shape == (3, small_model.FEATURES)

    @pytest.mark.parametrize("name", TENSORS)
    def test_client(self, server, name):
        said = rows("Tensors over gRPC")[name][1]
        signature, inputs = TENSORS[name]
        if said == "cannot be asked":
            return
        (value,) = inputs.values()
        client = Client(server.address)
        ask = client.embed if "images" in inputs else client.embed_bytes
        try:
            ask(value)
            found = "answered"
        except ValueError:
            found = "ValueError"
        assert said.split(";")[0] == found

    def test_infinity_and_nan_stay_in_their_row(self, signatures):
        good = signatures["embed"](images=tf.constant(FLOATS))["embedding"]
        for value in (np.nan, np.inf, -np.inf, 1e38):
            images = tf.constant(with_pixel(value))
            answer = signatures["embed"](images=images)["embedding"]
            np.testing.assert_allclose(
                answer.numpy()[::2], good.numpy()[::2], atol=1e-6
            )


class TestRest:
    def test_all_are_told(self):
        assert list(rows("JSON over REST")) == list(BODIES)

    @pytest.mark.parametrize("name", BODIES)
    def test_server(self, rest, name):
        said = rows("JSON over REST")[name][0]
        body = BODIES[name]
        body, path = body if isinstance(body, tuple) else (body, None)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{rest.address}/v1/models/{path or 'encoder:predict'}"
        try:
            with urllib.request.urlopen(url, data, timeout=20) as response:
                found = str(response.status)
        except urllib.error.HTTPError as error:
            found = str(error.code)
            assert json.load(error)["error"]
        assert said.split(";")[0] == found


def outcome(address, message):
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        try:
            stub.Predict(message, timeout=20)
            return "answered"
        except grpc.RpcError as error:
            return error.code().name
