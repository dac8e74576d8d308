"""Export: what is written for serving."""

from simclr_keras.flags import data
from simclr_keras.flags import definitions

_EXPORT = definitions.switch(
    "export",
    True,
    "Write a SavedModel for TensorFlow Serving at the end of the run.",
)
_KEEP_HUB_MODULE_MAX = definitions.integer(
    "keep_hub_module_max",
    1,
    "Newest SavedModel versions to keep; 0 keeps all.",
    minimum=0,
)
_SERVING_PRECISION = definitions.choice(
    "serving_precision",
    "float32",
    ["float32", "bfloat16"],
    "What the exported encoder computes in; inputs and answers are float32 in "
    "any case. bfloat16 halves its size and is faster on CPUs with AVX-512 "
    "BF16 or AMX and on recent GPUs; features then differ by about 1 %.",
)


def export():
    """Whether to export a SavedModel at the end."""
    return _EXPORT.value


def keep_versions():
    """How many of the newest SavedModel versions to keep; 0 for all."""
    return _KEEP_HUB_MODULE_MAX.value


def export_saved_model():
    """Arguments of `simclr_keras.export.export_saved_model`, from flags."""
    return {
        "image_size": data.image_size(),
        "serving_precision": _SERVING_PRECISION.value,
    }
