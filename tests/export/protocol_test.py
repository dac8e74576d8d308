"""The exported model behind TensorFlow Serving's protos and JSON."""

import base64
import json
import shutil
import threading
import time
import urllib.error
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from tests.export import small_model
from tests.export.model_server import ModelServer

IMAGES = small_model.pixels(3)
FLOATS = (IMAGES / 255).astype(np.float32)
FILES = [small_model.file(image) for image in IMAGES[:2]] + [b"no image"]
INPUTS = {
    "serving_default": {"image_bytes": np.array(FILES, object)},
    "embed": {"images": FLOATS},
    "embed_uint8": {"images": IMAGES},
    "classify": {"images": FLOATS},
    "classify_uint8": {"images": IMAGES},
}


@pytest.fixture
def stub(server):
    with grpc.insecure_channel(server.address) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request(signature, inputs, version=None):
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "encoder"
    message.model_spec.signature_name = signature
    if version is not None:
        message.model_spec.version.value = version
    for name, value in inputs.items():
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


def predict(stub, *arguments):
    outputs = stub.Predict(request(*arguments), timeout=20).outputs
    return {name: tf.make_ndarray(value) for name, value in outputs.items()}


def post(rest, body, path="encoder:predict"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"{rest.address}/v1/models/{path}"
    with urllib.request.urlopen(url, data, timeout=20) as response:
        return json.loads(response.read())


def assert_close(actual, expected):
    assert set(actual) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            actual[name], value, rtol=1e-5, atol=1e-6, err_msg=name
        )


class TestGrpc:
    @pytest.mark.parametrize("name", INPUTS)
    def test_answers_as_the_model_does(self, stub, signatures, name):
        inputs = {k: tf.constant(v) for k, v in INPUTS[name].items()}
        assert_close(
            predict(stub, name, INPUTS[name]), signatures[name](**inputs)
        )

    def test_an_empty_name_is_serving_default(self, stub):
        inputs = INPUTS["serving_default"]
        assert_close(
            predict(stub, "", inputs),
            predict(stub, "serving_default", inputs),
        )

    def test_a_version_by_number(self, stub):
        inputs = INPUTS["embed"]
        assert_close(
            predict(stub, "embed", inputs, 1), predict(stub, "embed", inputs)
        )
        with pytest.raises(grpc.RpcError) as raised:
            predict(stub, "embed", inputs, 2)
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND

    def test_status(self, server):
        message = get_model_status_pb2.GetModelStatusRequest()
        message.model_spec.name = "encoder"
        with grpc.insecure_channel(server.address) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            (status,) = stub.GetModelStatus(message).model_version_status
        assert status.version == 1
        assert status.state == status.AVAILABLE


class TestSignatures:
    def test_what_json_can_carry(self, server):
        """In rows, each output has one entry for each image."""
        with server.version(request("", {}).model_spec) as version:
            found = version.signatures
        assert set(found) == set(INPUTS)
        allowed = {tf.float32, tf.int64, tf.bool}
        for signature in found.values():
            for output in signature.outputs.values():
                assert tf.as_dtype(output.dtype) in allowed
                assert output.tensor_shape.dim[0].size == -1
            assert not [x for x in signature.outputs if x.endswith("_bytes")]

    def test_every_signature_is_warmed_up(self, server):
        with server.version(request("", {}).model_spec) as version:
            assert version.num_warmup_requests == len(INPUTS)


class TestRest:
    @pytest.mark.parametrize("name", INPUTS)
    def test_rows_and_columns_equal_grpc(self, stub, rest, name):
        (key,), (value,) = zip(*INPUTS[name].items(), strict=True)
        if key == "image_bytes":
            rows = [{"b64": base64.b64encode(x).decode()} for x in value]
        else:
            rows = value.tolist()
        expected = predict(stub, name, INPUTS[name])
        columns = {"signature_name": name, "inputs": {key: rows}}
        assert_close(post(rest, columns)["outputs"], expected)
        for instances in (rows, [{key: row} for row in rows]):
            body = {"signature_name": name, "instances": instances}
            answers = post(rest, body)["predictions"]
            assert_close(
                {k: [answer[k] for answer in answers] for k in answers[0]},
                expected,
            )

    def test_status(self, rest):
        url = f"{rest.address}/v1/models/encoder"
        with urllib.request.urlopen(url) as response:
            (status,) = json.load(response)["model_version_status"]
        assert (status["version"], status["state"]) == ("1", "AVAILABLE")

    def test_errors_are_json(self, rest):
        with pytest.raises(urllib.error.HTTPError) as raised:
            post(rest, b"{")
        assert raised.value.code == 400
        assert "JSON" in json.load(raised.value)["error"]


class TestVersions:
    def test_a_new_version_is_served_without_an_error(
        self, small_saved_model, tmp_path
    ):
        shutil.copytree(small_saved_model, tmp_path / "1")
        with ModelServer(tmp_path) as server:
            stop, versions, failures = threading.Event(), [], []
            callers = [
                threading.Thread(
                    target=ask, args=[server.address, stop, versions, failures]
                )
                for _ in range(2)
            ]
            for caller in callers:
                caller.start()
            # A folder that is no model: what is there is served on.
            (tmp_path / "3").mkdir()
            shutil.copytree(small_saved_model, tmp_path / ".7")
            (tmp_path / ".7").rename(tmp_path / "7")
            wait_until(lambda: versions and versions[-1] == 7)
            stop.set()
            for caller in callers:
                caller.join()
        assert not failures
        assert set(versions) == {1, 7}


def ask(address, stop, versions, failures):
    message = request("embed", {"images": FLOATS})
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        while not stop.is_set():
            try:
                response = stub.Predict(message, timeout=20)
                versions.append(response.model_spec.version.value)
                # Two cores load the new version, too.
                time.sleep(0.01)
            except grpc.RpcError as error:
                failures.append(error)


def wait_until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
