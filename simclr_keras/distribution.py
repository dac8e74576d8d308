"""The only file that speaks to `tf.distribute`."""

import contextlib

import tensorflow as tf

from simclr_keras import cluster


def strategy(
    name="auto", devices=0, *, tpu_name=None, tpu_zone=None, gcp_project=None
):
    """How the replicas of a run are spread; before any other TensorFlow call.

    Models, optimizers and what else has variables must be made in its scope
    (see `scope`).

    Args:
        name: "one" device; "mirrored", several of this host; "multi_worker",
            all of several hosts that `TF_CONFIG` names; "tpu"; or "auto":
            multi_worker if `TF_CONFIG` names several workers, else mirrored
            if this host has several GPUs or `devices` is above 1, else one.
        devices: int, how many GPUs of this host to use, 0 for all. Without a
            GPU, so many replicas share the CPU, which is no faster and there
            to try things out.
        tpu_name: of the Cloud TPU, or its grpc:// address; None for that of
            this virtual machine.
        tpu_zone, gcp_project: where it is; None to find out.

    Returns:
        `tf.distribute.Strategy`; None for one device.

    Raises:
        ValueError: if there are not so many devices, there is no such TPU,
            or `name` contradicts `TF_CONFIG`.
    """
    name = cluster.strategy_name(name, devices)
    if name == "one":
        return None
    if name == "tpu":
        return _tpu(tpu_name, tpu_zone, gcp_project)
    gpus = _choose_gpus(devices)
    if name == "multi_worker":
        if devices > 1 and not gpus:
            raise ValueError(
                "`devices` must be 0 or 1 for multi_worker without GPUs, "
                f"where a worker is one replica. Received: devices={devices}"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "auto" and gpus < 2:
        return None
    kind = "GPU" if gpus else "CPU"
    count = gpus or _split_cpu(devices)
    return tf.distribute.MirroredStrategy(
        [f"/{kind.lower()}:{number}" for number in range(count)]
    )


def scope(strategy):
    """`strategy.scope()`; for None, the scope of nothing."""
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def per_replica(strategy, dataset):
    """Hands each replica its rows of the global batches.

    Args:
        strategy: from `strategy`, or None.
        dataset: function (number of replicas, first one, how many) -> dataset
            whose elements are the rows of the replicas from the first one on,
            in turn, batch after batch.

    Returns:
        What `fit` takes.
    """
    if strategy is None:
        return dataset(1, 0, 1)
    num_replicas = strategy.num_replicas_in_sync

    def of_worker(context):
        count = num_replicas // context.num_input_pipelines
        return dataset(num_replicas, context.input_pipeline_id * count, count)

    return strategy.distribute_datasets_from_function(of_worker)


def equal_on_all_workers(strategy, number):
    """Whether all workers call this with the same int, below 2**31."""
    if not _is_multi_worker(strategy):
        return True

    @tf.function
    def everyones():
        return strategy.run(lambda: gather(tf.constant([number], tf.int32)))

    found = strategy.experimental_local_results(everyones())[0].numpy()
    return bool((found == number).all())


def worker_flag(strategy):
    """A `WorkerFlag`, or None if there is one worker."""
    return WorkerFlag() if _is_multi_worker(strategy) else None


@contextlib.contextmanager
def lost_workers_named(strategy):
    """Turns TensorFlow's errors about another worker's end into one.

    Raises:
        ConnectionError: if the others cannot be reached any more.
    """
    try:
        yield
    except (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.InternalError,
        tf.errors.UnavailableError,
    ) as error:
        if not _is_multi_worker(strategy):
            raise
        raise ConnectionError(
            "another worker has ended or cannot be reached "
            f"({error.message.splitlines()[0][:200]})"
        ) from error


class WorkerFlag:
    """A switch that any worker may set and all see after the same step."""

    def __init__(self):
        with tf.device("CPU:0"):
            self._own = tf.Variable(0.0, trainable=False)

    def set(self):
        self._own.assign(1.0)

    def count(self):
        """How many replicas have it set; for the inside of a step."""
        return total(tf.identity(self._own))


def num_replicas():
    """Replicas in the strategy in scope; 1 without one."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def replica_id():
    """This replica's number; a Python int 0 where there is only one."""
    context = tf.distribute.get_replica_context()
    if context is None or num_replicas() == 1:
        return 0
    return tf.cast(context.replica_id_in_sync_group, tf.int32)


def equal_rows(x):
    """`x` [B, ...], once it is known that B is the same on all replicas.

    Keras' `fit` shares out a last, smaller batch as it comes.

    Raises:
        tf.errors.InvalidArgumentError: if not, when the batch is there.
    """
    if num_replicas() == 1 or x.shape[0] is not None:
        return x
    rows = tf.shape(x)[0]
    rows, squares = tf.unstack(total(tf.stack([rows, rows * rows])))
    # Cauchy-Schwarz: equal if and only if all are.
    check = tf.debugging.assert_equal(
        squares * num_replicas(),
        rows * rows,
        "Every replica must get equally many images; batch the data set with "
        "drop_remainder=True, or take a number of images that the replicas "
        "share. Images in the batch:",
    )
    with tf.control_dependencies([check]):
        return tf.identity(x)


def gather(z):
    """[B, ...] on each replica -> [G, ...], all replicas' rows in order.

    Differentiable: the gradient for this replica's rows is the sum of what
    every replica asks of them. All replicas must hold equally many rows.
    """
    context = tf.distribute.get_replica_context()
    if context is None or num_replicas() == 1:
        return z
    return context.all_gather(z, axis=0)


def total(x):
    """The sum of a tensor over all replicas, on each of them."""
    if num_replicas() == 1:
        return x
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def mean(x):
    """The mean of a tensor over all replicas, on each of them."""
    return total(x) / num_replicas()


def spread_overflow(gradients):
    """Gradients that are finite on every replica or on none.

    Keras' `LossScaleOptimizer` looks at those of one replica only and sums
    them later, so that an overflow elsewhere would get into the weights, or
    leave workers waiting for those that skip the step.
    """
    if num_replicas() == 1:
        return gradients
    finite = [
        tf.reduce_all(tf.math.is_finite(g)) for g in gradients if g is not None
    ]
    overflows = total(1.0 - tf.cast(tf.reduce_all(finite), tf.float32))
    return [
        g
        if g is None
        else tf.where(overflows > 0, g.dtype.as_numpy_dtype("nan"), g)
        for g in gradients
    ]


def logs(values):
    """What a step returns, in the shape that Keras' `fit` takes.

    Across workers it averages over the first axis, without looking whether
    there is one (Keras 3.15; keras-team/keras#20585).
    """
    if not _is_multi_worker(tf.distribute.get_strategy()):
        return values
    return {name: tf.reshape(value, [1]) for name, value in values.items()}


def repeat(body, count, state):
    """What `state` is after `body(i, *state)` for i in 0 .. `count` - 1.

    One iteration ends before the next begins, so that memory does not grow
    with `count`. A loop of the graph, except on several replicas: those meet
    inside `body`, which `tf.distribute` does not allow in a loop, so that it
    is traced `count` times.

    Args:
        body: function from an int32 scalar and tensors to a list of tensors.
        count: int.
        state: list of tensors or `tf.TensorArray`.
    """
    if num_replicas() == 1 or _is_tpu():
        _, *state = tf.while_loop(
            lambda i, *_: i < count,
            lambda i, *state: [i + 1, *body(i, *state)],
            [tf.constant(0), *state],
            parallel_iterations=1,
            maximum_iterations=count,
        )
        return state
    for i in range(count):
        before = [getattr(x, "flow", x) for x in state]
        with tf.control_dependencies(before):
            state = body(tf.constant(i), *state)
    return state


def _tpu(name, zone, project):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=name, zone=zone, project=project
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, OSError, tf.errors.OpError) as error:
        raise ValueError(
            "`tpu_name` must be that of a TPU which this TensorFlow reaches. "
            f"Received: tpu_name={name} ({str(error).splitlines()[0]})"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _choose_gpus(devices):
    """Hides all but `devices` GPUs; returns how many are used."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus or not devices:
        return len(gpus)
    if devices > len(gpus):
        raise ValueError(
            f"`devices` must be at most {len(gpus)}, the GPUs of this host. "
            f"Received: devices={devices}"
        )
    tf.config.set_visible_devices(gpus[:devices], "GPU")
    return devices


def _split_cpu(devices):
    """Makes the CPU `devices` logical ones; returns how many there are."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    devices = max(devices, 1)
    if devices > 1:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * devices
        )
    return devices


def _is_multi_worker(strategy):
    # Of one worker, it is as any other; `_in_multi_worker_mode` is what Keras
    # decides by.
    return (
        isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        and strategy.extended._in_multi_worker_mode()
    )


def _is_tpu():
    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
