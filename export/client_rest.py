"""A client's requests over REST: Python's standard library and NumPy.

JSON in TensorFlow Serving's columnar format:
https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import http.client
import json
import urllib.error
import urllib.request

import numpy as np

from simclr_keras.export import client_errors

# JSON takes many times the memory of what it holds.
MAX_REQUEST_BYTES = 2**23

# JSON has no types; all else is float32.
_DTYPES = {"classes": np.int64, "valid": np.bool_}


class RestTransport:
    """As `client_grpc.GrpcTransport`, of "http://host:port"."""

    max_request_bytes = MAX_REQUEST_BYTES

    def __init__(self, address, model, version):
        self._address, self._model, self._version = address, model, version
        path = f"/v1/models/{model}"
        if version is not None:
            path += f"/versions/{version}"
        self._url = f"{address.rstrip('/')}{path}:predict"

    def predict(self, signature, inputs, timeout):
        """As `GrpcTransport.predict`; `timeout` is that of every wait."""
        body = {
            "signature_name": signature,
            "inputs": {name: _json(value) for name, value in inputs.items()},
        }
        request = urllib.request.Request(
            self._url,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            answer = self._answer(request, timeout)
            return _arrays(json.loads(answer)["outputs"])
        except TimeoutError as error:
            raise client_errors.deadline_exceeded(
                self._address, timeout
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise client_errors.failed(
                self._address, "an answer that is none", error
            ) from error

    def close(self):
        """Nothing is kept open."""

    def _answer(self, request, timeout):
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise self._error(error, request) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise error.reason from error
            raise client_errors.unavailable(
                self._address, error.reason
            ) from error
        except (http.client.HTTPException, ConnectionError) as error:
            raise client_errors.unavailable(
                self._address, f"{type(error).__name__} {error}"
            ) from error

    def _error(self, error, request):
        text = error.read().decode(errors="replace")
        try:
            details = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            details = text or error.reason
        if error.code == 503:
            return client_errors.unavailable(self._address, details)
        if error.code == 404:
            return client_errors.not_found(
                self._address, self._model, self._version, details
            )
        if error.code == 504:
            return client_errors.deadline_exceeded(
                self._address, request.timeout
            )
        if error.code == 400:
            signature = json.loads(request.data)["signature_name"]
            return client_errors.refused(self._address, signature, details)
        return client_errors.failed(
            self._address, f"HTTP {error.code}", details
        )


def _json(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [{"b64": base64.b64encode(row).decode()} for row in value]


def _arrays(outputs):
    # The server leaves out the name of an only output.
    if not isinstance(outputs, dict):
        outputs = {"embedding": outputs}
    return {
        name: np.asarray(value, _DTYPES.get(name, np.float32))
        for name, value in outputs.items()
    }
