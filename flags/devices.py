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
_STRATEGY = definitions.choice(
    "strategy",
    "auto",
    ["auto", "one", "mirrored", "multi_worker", "tpu"],
    "Replicas of the model. one: one device. mirrored: several GPUs of this "
    "host. multi_worker: all of the hosts that TF_CONFIG names. tpu: a Cloud "
    "TPU. auto: multi_worker if TF_CONFIG names several, else mirrored if "
    "this host has several GPUs, else one. The result is the same up to "
    "rounding, with --global_bn.",
)
_DEVICES = definitions.integer(
    "devices",
    0,
    "GPUs of this host to use; 0 for all. Without a GPU, replicas that share "
    "the CPU, which is no faster: to try things out.",
    minimum=0,
)
_USE_TPU = definitions.switch(
    "use_tpu", False, "Train on a Cloud TPU: Google's name for --strategy=tpu."
)
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


def strategy():
    """Arguments of `distribution.strategy`."""
    return {
        "name": "tpu" if _USE_TPU.value else _STRATEGY.value,
        "devices": _DEVICES.value,
        "tpu_name": _MASTER.value or _TPU_NAME.value,
        "tpu_zone": _TPU_ZONE.value,
        "gcp_project": _GCP_PROJECT.value,
    }


def dtype_policy():
    """Argument of `keras.config.set_dtype_policy`."""
    return _POLICIES[_PRECISION.value]
