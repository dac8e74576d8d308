"""A server that speaks as TensorFlow Serving does, for tests and benchmarks.

Its protos and stubs are TensorFlow Serving's own, and models run as there: a
`SavedModel` is loaded into a session and its signatures are fed by the names
of their tensors. The highest version in a folder is served once its warm-up
requests have run; the one before is closed when its last request is done.
Batching, its queues and its limits are not imitated.
"""

import concurrent.futures
import contextlib
import ctypes
import gc
import pathlib
import threading
import time

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

WARMUP = pathlib.Path("assets.extra", "tf_serving_warmup_requests")


class RequestError(Exception):
    """A status of gRPC and its text."""

    def __init__(self, code, details):
        super().__init__(details)
        self.code, self.details = code, details


class Version:
    """A loaded version of a model."""

    def __init__(self, path):
        self.number = int(path.name)
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(
                self._session, ["serve"], str(path)
            )
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if name != "__saved_model_init_op"
        }
        self._functions = {
            name: self._function(signature)
            for name, signature in self.signatures.items()
        }
        self._used = threading.Condition()
        self._num_users = 0
        self.num_warmup_requests = self._warm_up(path / WARMUP)

    def predict(self, name, inputs):
        """Outputs of a signature by name, from arrays by name."""
        signature = self.signature(name)
        extra = inputs.keys() - signature.inputs.keys()
        missing = signature.inputs.keys() - inputs.keys()
        if extra or missing:
            raise RequestError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "input size does not match signature: "
                f"{len(inputs)}!={len(signature.inputs)}. Sent extra: "
                f"{{{','.join(sorted(extra))}}}. Missing but required: "
                f"{{{','.join(sorted(missing))}}}.",
            )
        try:
            values = self._functions[name](
                *(inputs[key] for key in sorted(signature.inputs))
            )
        except tf.errors.OpError as error:
            code = next(
                code
                for code in grpc.StatusCode
                if code.value[0] == error.error_code
            )
            raise RequestError(code, error.message) from error
        return dict(zip(sorted(signature.outputs), values, strict=True))

    def signature(self, name):
        """The `SignatureDef` of this name."""
        if name not in self.signatures:
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f'Serving signature key "{name}" not found.',
            )
        return self.signatures[name]

    def acquire(self):
        """From now on, `close` waits for `release`."""
        with self._used:
            self._num_users += 1

    def release(self):
        """The end of what `acquire` began."""
        with self._used:
            self._num_users -= 1
            self._used.notify_all()

    def close(self):
        """Frees everything, after the last request."""
        with self._used:
            self._used.wait_for(lambda: self._num_users == 0)
        self._functions.clear()
        self._session.close()
        self._session = None
        # Graphs are cycles, and glibc keeps what they leave: a process that
        # loads version after version would seem to leak.
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    def _function(self, signature):
        # `Session.run` would check shapes in Python, which no server does.
        options = config_pb2.CallableOptions(
            feed=[
                signature.inputs[key].name for key in sorted(signature.inputs)
            ],
            fetch=[
                signature.outputs[key].name for key in sorted(signature.outputs)
            ],
        )
        return self._session._make_callable_from_options(options)

    def _warm_up(self, path):
        if not path.exists():
            return 0
        records = list(tf.compat.v1.io.tf_record_iterator(str(path)))
        for record in records:
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            self.predict(request.model_spec.signature_name, arrays(request))
        return len(records)


class ModelServer:
    """Serves the highest version in a folder, on a port of its own.

    Args:
        folder: of the versions.
        name: of the model.
        poll_seconds: how often a new version is looked for.
    """

    def __init__(self, folder, name="encoder", poll_seconds=0.05):
        self.folder, self.name = pathlib.Path(folder), name
        # What was asked: (signature, number of rows, seconds left).
        self.requests = []
        # Statuses to answer the next requests with; seconds to wait before.
        self.faults = []
        self.delay = 0.0
        self.swaps = []
        self._lock = threading.Lock()
        self._version = self._load(self._highest())
        self._stopped = threading.Event()
        self._watcher = threading.Thread(
            target=self._watch, args=[poll_seconds], daemon=True
        )
        self._watcher.start()
        self._grpc = grpc.server(
            concurrent.futures.ThreadPoolExecutor(16),
            options=[
                ("grpc.max_receive_message_length", 2**31 - 1),
                ("grpc.max_send_message_length", 2**31 - 1),
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _PredictionService(self), self._grpc
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            _ModelService(self), self._grpc
        )
        self.port = self._grpc.add_insecure_port("localhost:0")
        self.address = f"localhost:{self.port}"
        self._grpc.start()

    @contextlib.contextmanager
    def version(self, spec):
        """The `Version` that a `ModelSpec` means; it stays loaded meanwhile."""
        time.sleep(self.delay)
        with self._lock:
            if self.faults:
                raise RequestError(self.faults.pop(0), "a fault on purpose")
            version = self._version
            number = spec.version.value
            asked = spec.HasField("version")
            if spec.name != self.name or (asked and number != version.number):
                kind = f"Specific({spec.name}, {number})"
                raise RequestError(
                    grpc.StatusCode.NOT_FOUND,
                    "Servable not found for request: "
                    + (kind if asked else f"Latest({spec.name})"),
                )
            version.acquire()
        try:
            yield version
        finally:
            version.release()

    def close(self):
        """Ends the server."""
        self._grpc.stop(None).wait()
        self._stopped.set()
        self._watcher.join()
        self._version.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _highest(self):
        numbers = [
            int(path.name)
            for path in self.folder.iterdir()
            if path.name.isdecimal()
        ]
        return self.folder / str(max(numbers))

    def _load(self, path):
        return Version(path)

    def _watch(self, poll_seconds):
        failed = set()
        while not self._stopped.wait(poll_seconds):
            path = self._highest()
            if int(path.name) <= self._version.number or path.name in failed:
                continue
            try:
                following = self._load(path)
            except Exception:  # As there: the old one is served on.
                failed.add(path.name)
                continue
            with self._lock:
                before, self._version = self._version, following
            self.swaps.append((time.monotonic(), following.number))
            before.close()


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, server):
        self._server = server

    def Predict(self, request, context):
        name = request.model_spec.signature_name or "serving_default"
        try:
            with self._server.version(request.model_spec) as version:
                inputs = arrays(request)
                self._server.requests.append(
                    (name, _num_rows(inputs), context.time_remaining())
                )
                outputs = version.predict(name, inputs)
                response = predict_pb2.PredictResponse()
                response.model_spec.name = self._server.name
                response.model_spec.version.value = version.number
                response.model_spec.signature_name = name
        except RequestError as error:
            context.abort(error.code, error.details)
        for name, value in outputs.items():
            _fill(response.outputs[name], value)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server):
        self._server = server

    def GetModelStatus(self, request, context):
        try:
            with self._server.version(request.model_spec) as version:
                response = get_model_status_pb2.GetModelStatusResponse()
                response.model_version_status.add(
                    version=version.number,
                    state=get_model_status_pb2.ModelVersionStatus.AVAILABLE,
                )
                return response
        except RequestError as error:
            context.abort(error.code, error.details)


def arrays(request):
    """Inputs of a `PredictRequest` by name."""
    try:
        return {
            name: tf.make_ndarray(tensor)
            for name, tensor in request.inputs.items()
        }
    except (ValueError, TypeError) as error:
        raise RequestError(
            grpc.StatusCode.INVALID_ARGUMENT, f"tensor parsing error: {error}"
        ) from error


def _num_rows(inputs):
    shapes = [value.shape for value in inputs.values() if value.ndim]
    return shapes[0][0] if shapes else None


def _fill(proto, value):
    """As the server writes answers: numbers one by one, not as bytes."""
    dtype = tf.as_dtype(value.dtype)
    proto.dtype = dtype.as_datatype_enum
    proto.tensor_shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    field = {
        tf.float32: "float_val",
        tf.int64: "int64_val",
        tf.bool: "bool_val",
    }
    getattr(proto, field[dtype]).extend(np.ravel(value).tolist())
