"""What TensorFlow Serving reads beside a model, in its own formats."""

import pathlib

import tensorflow as tf

from simclr_keras.export import versions

# Of the container in which the model is served; see docs/serving.md.
MODEL_NAME = "encoder"
MODEL_CONFIG = "models.config"
BATCHING_PARAMETERS = "batching_parameters.txt"

_FILES = {
    MODEL_CONFIG: f"""\
# tensorflow_model_server
#   --model_config_file=/models/{MODEL_NAME}/{MODEL_CONFIG}
model_config_list {{
  config {{
    name: "{MODEL_NAME}"
    base_path: "/models/{MODEL_NAME}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
""",
    BATCHING_PARAMETERS: """\
# tensorflow_model_server --enable_batching
#   --batching_parameters_file=/models/encoder/batching_parameters.txt
# Rows of one request, and of all that are computed together.
max_batch_size { value: 64 }
# The longest that a request waits for others.
batch_timeout_micros { value: 2000 }
max_enqueued_batches { value: 64 }
# As many as the machine has cores, at most.
num_batch_threads { value: 2 }
# Padding would change images, and may end the server.
pad_variable_length_inputs: false
""",
}


def write_server_files(folder):
    """Writes `models.config` and `batching_parameters.txt` where missing.

    Args:
        folder: the one that holds the versions; files that exist there are
            left as they are, for they may have been edited.
    """
    for name, text in _FILES.items():
        try:
            with open(pathlib.Path(folder, name), "x") as file:
                file.write(text)
        except FileExistsError:
            pass


def write_warmup_requests(folder, image_size, described):
    """Writes one request per signature, which the server runs at start.

    Without them the first real requests wait for kernels to be prepared. The
    requests are TensorFlow Serving's `PredictionLog`, so that its package
    must be installed (`pip install simclr-keras[serving]`).

    Args:
        folder: the version's.
        image_size: (height, width) of the images in the requests.
        described: signature -> its inputs, as in `metadata.json`.

    Returns:
        The number of requests; 0, and no file, without the package.
    """
    try:
        from tensorflow_serving.apis import predict_pb2
        from tensorflow_serving.apis import prediction_log_pb2
    except ImportError:
        return 0
    path = pathlib.Path(folder, versions.WARMUP)
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in described.items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = MODEL_NAME
            request.model_spec.signature_name = name
            for key, field in signature["inputs"].items():
                value = _image(image_size, field["dtype"])
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
    return len(described)


def _image(image_size, dtype):
    """A batch of one grey image: pixels, or a JPEG file."""
    pixels = tf.fill([1, *image_size, 3], tf.constant(128, tf.uint8))
    if dtype == "string":
        return tf.io.encode_jpeg(pixels[0])[None]
    return tf.image.convert_image_dtype(pixels, dtype)
