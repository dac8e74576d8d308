"""TensorFlow Serving's REST interface in front of a `ModelServer`.

Follows https://www.tensorflow.org/tfx/serving/api_rest: rows ("instances",
"predictions") and columns ("inputs", "outputs"), {"b64": ...} for bytes, an
only input or output without its name, errors as {"error": ...}, outputs whose
names end in `_bytes` in Base64, NaN as the bare word.
"""

import base64
import http.server
import json
import re
import threading

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2

from tests.export.model_server import RequestError

_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict|/metadata)?"
)
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class RestServer:
    """Answers over HTTP on a port of its own, from a `ModelServer`."""

    def __init__(self, server):
        class Handler(_Handler):
            model_server = server

        self._http = _Http(("localhost", 0), Handler)
        self.address = f"http://localhost:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever)
        self._thread.start()

    def close(self):
        """Ends the server, not the one behind it."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


class _Http(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """Says nothing of clients that hang up."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self._reply(self._status)

    def do_POST(self):
        self._reply(self._predict)

    def log_message(self, *_):
        pass

    def _reply(self, answer):
        try:
            code, content = 200, answer()
        except RequestError as error:
            code = _HTTP.get(error.code, 500)
            content = {"error": error.details}
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _model(self, action):
        match = _PATH.fullmatch(self.path)
        if match is None or match[3] != action:
            raise _invalid(f"Malformed request: {self.command} {self.path}")
        spec = model_pb2.ModelSpec(name=match[1])
        if match[2] is not None:
            spec.version.value = int(match[2])
        return self.model_server.version(spec)

    def _status(self):
        with self._model(None) as version:
            status = {"error_code": "OK", "error_message": ""}
            return {
                "model_version_status": [
                    {
                        "version": str(version.number),
                        "state": "AVAILABLE",
                        "status": status,
                    }
                ]
            }

    def _predict(self):
        length = int(self.headers["Content-Length"])
        with self._model(":predict") as version:
            try:
                body = json.loads(self.rfile.read(length))
            except ValueError as error:
                raise _invalid("JSON Parse error: Invalid value.") from error
            if not isinstance(body, dict):
                raise _invalid("JSON body must be an object")
            if ("instances" in body) == ("inputs" in body):
                raise _invalid(
                    'Missing "inputs" or "instances" key, or both are there'
                )
            name = body.get("signature_name", "serving_default")
            signature = version.signature(name)
            is_rows = "instances" in body
            columns = (_from_rows if is_rows else _from_columns)(
                body["instances" if is_rows else "inputs"], signature.inputs
            )
            inputs = {
                key: _tensor(key, value, signature.inputs[key])
                for key, value in columns.items()
                if key in signature.inputs
            }
            outputs = version.predict(name, inputs | _extra(columns, inputs))
        return _rows(outputs) if is_rows else _columns(outputs)


def _from_rows(rows, inputs):
    if not isinstance(rows, list) or not rows:
        raise _invalid('"instances" must be a list that is not empty')
    if not all(map(_is_named, rows)):
        return {_only(inputs): rows}
    keys = rows[0].keys()
    if any(row.keys() != keys for row in rows):
        raise _invalid("all instances must have the same keys")
    return {key: [row[key] for row in rows] for key in keys}


def _from_columns(columns, inputs):
    return columns if _is_named(columns) else {_only(inputs): columns}


def _is_named(value):
    return isinstance(value, dict) and value.keys() != {"b64"}


def _only(inputs):
    if len(inputs) != 1:
        raise _invalid("more than one input: they must be named")
    return next(iter(inputs))


def _extra(columns, inputs):
    return {key: None for key in columns.keys() - inputs.keys()}


def _tensor(name, value, info):
    dtype = tf.as_dtype(info.dtype)
    try:
        if dtype == tf.string:
            return np.array(_strings(value), object)
        array = np.array(value)
    except (ValueError, TypeError) as error:
        raise _invalid(
            f"Encountered list at unexpected size or value in {name}: {error}"
        ) from error
    if array.dtype.kind not in "biuf" or (
        array.dtype.kind == "f" and not dtype.is_floating
    ):
        raise _invalid(
            f"JSON Value: {str(value)[:40]} Type: is not of expected type: "
            f"{dtype.name}"
        )
    return array.astype(dtype.as_numpy_dtype)


def _strings(value):
    if isinstance(value, list):
        return [_strings(item) for item in value]
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"], validate=True)
    if isinstance(value, str):
        return value.encode()
    raise ValueError(f"{str(value)[:40]} is no string")


def _rows(outputs):
    """Only tensors that have one row for each image can be told in rows."""
    sizes = {value.shape[:1] for value in outputs.values()}
    if len(sizes) != 1 or sizes == {()}:
        raise _invalid("inconsistent batch size, or no shape information")
    named = {key: _json(key, value) for key, value in outputs.items()}
    if len(named) == 1:
        return {"predictions": next(iter(named.values()))}
    return {
        "predictions": [
            dict(zip(named, row, strict=True))
            for row in zip(*named.values(), strict=True)
        ]
    }


def _columns(outputs):
    named = {key: _json(key, value) for key, value in outputs.items()}
    is_only = len(named) == 1
    return {"outputs": next(iter(named.values())) if is_only else named}


def _json(name, value):
    if value.dtype not in (np.float32, np.int64, np.bool_, object):
        raise _invalid(f"{name}: JSON cannot carry {value.dtype}")
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(row).decode()} for row in value]
    return value.tolist()


def _invalid(details):
    return RequestError(grpc.StatusCode.INVALID_ARGUMENT, details)
