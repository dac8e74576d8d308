"""What a run took, and how its processes ended: `resources.json`."""

import pathlib
import resource
import sys

from simclr_keras import run_files

RESOURCES = "resources.json"


def keep(model_dir, total_steps, seconds, ended):
    """Adds this process to those that worked on the run.

    Args:
        model_dir: path of the run's directory.
        total_steps: int, updates of the whole run.
        seconds: float, how long it worked on the run.
        ended: str, why it ended early; None if it came to its end.
    """
    path = pathlib.Path(model_dir) / RESOURCES
    before = (run_files.read_json(path) or {}).get("processes", [])
    process = {
        "seconds": seconds,
        "peak_memory_bytes": _peak_memory(),
        "ended": ended,
        **_devices(),
    }
    run_files.write_json(
        path,
        {"total_steps": total_steps, "processes": [*before, process]},
    )


def _peak_memory():
    """The most memory this process has had resident, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    return peak if sys.platform == "darwin" else 1024 * peak


def _devices():
    """Processor, and accelerators with the most memory in use on one."""
    found = {"processor": run_files.processor(), "accelerators": []}
    # A run that was stopped before it needed TensorFlow has none to ask.
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return found
    peaks = []
    for kind in ("GPU", "TPU"):
        for device in tf.config.list_physical_devices(kind):
            details = tf.config.experimental.get_device_details(device)
            found["accelerators"].append(details.get("device_name", kind))
    for device in tf.config.list_logical_devices("GPU"):
        name = device.name.removeprefix("/device:")
        peaks.append(tf.config.experimental.get_memory_info(name)["peak"])
    if peaks:
        found["peak_accelerator_bytes"] = max(peaks)
    return found
