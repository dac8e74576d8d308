"""Devices: where and in which precision the computation runs."""

from simclr_keras.flags import definitions

_PRECISION = definitions.choice(
    "precision",
    "float32",
    ["float32", "bfloat16", "float16"],
    "Type of activations. Weights, loss and batch-norm statistics stay "
    "float32. bfloat16 is the faster one on TPUs, recent GPUs and CPUs with "
    "AVX-512 BF16; float16 scales the loss against underflow.",
)
_USE_TPU = definitions.switch("use_tpu", False, "Train on a Cloud TPU.")
_TPU_NAME = definitions.text(
    "tpu_name", None, "Name of the Cloud TPU, or its grpc:// address."
)
_TPU_ZONE = definitions.text(
    "tpu_zone", None, "Zone of the Cloud TPU; found by itself if left out."
)
_GCP_PROJECT = definitions.text(
    "gcp_project", None, "Project of the Cloud TPU; found if left out."
)
_MASTER = definitions.text(
    "master", None, "Address of the TPU's master, instead of its name."
)

_POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


def dtype_policy():
    """Argument of `keras.config.set_dtype_policy`."""
    return _POLICIES[_PRECISION.value]
