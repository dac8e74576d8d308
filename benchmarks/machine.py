"""What the processor is and can, for the benchmarks beside this file."""

import pathlib

import tensorflow as tf

PRECISIONS = ("float32", "bfloat16")


def cpu_info():
    """{field: value} of the first processor, empty where Linux is absent."""
    path = pathlib.Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def fast_precisions():
    """Those of `PRECISIONS` that are not emulated here."""
    extensions = cpu_info().get("flags", "").split()
    gpus = tf.config.list_physical_devices("GPU")
    if gpus or {"avx512_bf16", "amx_bf16"} & set(extensions):
        return PRECISIONS
    return PRECISIONS[:1]
