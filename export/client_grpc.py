"""A client's requests over gRPC, with TensorFlow Serving's own protos."""

from simclr_keras.export import client_errors

# The server takes 2 GB; many requests of this size fit beside each other.
MAX_REQUEST_BYTES = 2**26

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that was restarted is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Over all addresses of a name, as of a headless service in Kubernetes.
    ("grpc.lb_policy_name", "round_robin"),
)


class GrpcTransport:
    """One connection; may be used by several threads.

    Args:
        address: "host:port".
        model: str, the server's name of the model.
        version: int, or None for the one that the server takes.

    Raises:
        ImportError: without grpcio or tensorflow-serving-api.
    """

    max_request_bytes = MAX_REQUEST_BYTES

    def __init__(self, address, model, version):
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2
            from tensorflow_serving.apis import prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                "gRPC needs the protos of TensorFlow Serving: `pip install "
                "'simclr-keras[serving]'`; an `address` of http://host:8501 "
                f"needs nothing. Received: {error}"
            ) from error
        self._grpc = grpc
        self._request = predict_pb2.PredictRequest
        self._address, self._model, self._version = address, model, version
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._predict = stub.Predict

    def predict(self, signature, inputs, timeout):
        """Answers of a signature.

        Args:
            signature: str.
            inputs: dict of arrays; of bytes objects for strings.
            timeout: float, seconds.

        Returns:
            Dict of arrays.

        Raises:
            client_errors.ServingError
        """
        import tensorflow as tf  # The protos have imported it already.

        request = self._request()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            response = self._predict(request, timeout=timeout)
        except self._grpc.RpcError as error:
            raise self._error(error, signature, timeout) from error
        return {
            name: tf.make_ndarray(value)
            for name, value in response.outputs.items()
        }

    def close(self):
        """Ends the connection."""
        self._channel.close()

    def _error(self, error, signature, timeout):
        code, details = error.code(), error.details()
        codes = self._grpc.StatusCode
        if code == codes.UNAVAILABLE:
            return client_errors.unavailable(self._address, details)
        if code == codes.NOT_FOUND:
            return client_errors.not_found(
                self._address, self._model, self._version, details
            )
        if code == codes.DEADLINE_EXCEEDED:
            return client_errors.deadline_exceeded(self._address, timeout)
        if code in (codes.INVALID_ARGUMENT, codes.FAILED_PRECONDITION):
            return client_errors.refused(self._address, signature, details)
        return client_errors.failed(self._address, code.name, details)
