"""Who takes part in a run of several hosts, as `TF_CONFIG` says.

TensorFlow's own way of telling a process about the others:

    {"cluster": {"worker": ["host1:2222", "host2:2222"]},
     "task": {"type": "worker", "index": 0}}

Read without TensorFlow, so that mistakes are answered at once.
"""

import dataclasses
import glob
import json
import os

STRATEGIES = ("auto", "one", "mirrored", "multi_worker", "tpu")
_VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
# What graphics drivers put there; without them there is no GPU to ask about.
_DRIVERS = ("/dev/nvidia[0-9]*", "/dev/dxg", "/dev/kfd")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
        num_workers: int, processes that train together; 1 for this one alone.
        index: int, this one's number among them.
    """

    num_workers: int = 1
    index: int = 0

    @property
    def is_chief(self):
        """Whether this worker is the one that writes and prints."""
        return self.index == 0


def cluster():
    """The `Cluster` of this process.

    Raises:
        ValueError: if `TF_CONFIG` is not as above.
    """
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return Cluster()
    try:
        config = json.loads(text)
        hosts, task = config.get("cluster", {}), config.get("task", {})
        if not hosts:
            return Cluster()
        # TensorFlow numbers a "chief" first and then the workers.
        order = [
            (kind, index)
            for kind in ("chief", "worker")
            for index in range(len(hosts.get(kind, [])))
        ]
        place = order.index((task["type"], int(task["index"])))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`{_VARIABLE}` must name the hosts and this one's place among "
            f"them, as {_EXAMPLE}. Received: {text}"
        ) from error
    return Cluster(len(order), place)


def strategy_name(name, devices=0):
    """What "auto" stands for on this host, as far as TensorFlow is not needed.

    Args:
        name: one of `STRATEGIES`.
        devices: int, how many of this host's to use; 0 for all.

    Returns:
        One of `STRATEGIES`; "auto" only where the GPUs must be counted.

    Raises:
        ValueError: if `name` is unknown, or contradicts `TF_CONFIG`.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"`name` must be one of {', '.join(STRATEGIES)}. Received: {name!r}"
        )
    num_workers = cluster().num_workers
    if name == "multi_worker" and num_workers < 2:
        raise ValueError(
            f"`{_VARIABLE}` must name more than one worker for "
            f"multi_worker, as {_EXAMPLE}. "
            f"Received: {os.environ.get(_VARIABLE, 'nothing')}"
        )
    if name in ("one", "mirrored") and num_workers > 1:
        raise ValueError(
            f"`{_VARIABLE}` must not name several workers for {name}, each "
            f"of which would train by itself. Received: {num_workers} workers"
        )
    if name != "auto":
        return name
    if num_workers > 1:
        return "multi_worker"
    if devices:
        return "mirrored" if devices > 1 else "one"
    return "auto" if any(map(glob.glob, _DRIVERS)) else "one"
