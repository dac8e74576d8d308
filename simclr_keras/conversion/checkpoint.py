"""One checkpoint of google-research/simclr, opened and checked."""

import os
import re

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from simclr_keras.conversion import files
from simclr_keras.conversion import names
from simclr_keras.conversion import recognition

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"
_ENDING = f"/.ATTRIBUTES/{_VALUE}"

# What lies beside the model in a checkpoint: step, optimizer and its slots,
# and the moving average of the weights that pretraining kept for SimCLRv2.
_BESIDE = re.compile(
    r"(optimizer|save_counter|global_step)/.*|.*/\.OPTIMIZER_SLOT/.*"
    r"|global_step|beta\d_power|ema_model/.*"
    r"|.*/(Momentum|LARSOptimizer|Adam)(_\d+)?"
)
_LISTED = 5

# What TensorFlow's reader raises on damaged files.
_UNREADABLE = (
    tf.errors.OpError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
)


class Checkpoint:
    """A checkpoint, with our names for its variables.

    Args:
        path: as `search` in `conversion.files` takes it.

    Attributes:
        path: prefix of its files.
        recognised: `Recognised`.
        shapes: {path of our variable: shape}, of all that the recognised
            models have.

    Raises:
        ValueError: if there is none, it is damaged or of another model, or
            its variables are not exactly those of a model of ours. Optimizer
            slots and the like beside them are left out.
    """

    def __init__(self, path):
        self.path, problem = files.search(path)
        if problem is not None:
            raise _error(os.fspath(path), problem)
        self._reader = self._whole(tf.train.load_checkpoint, str(self.path))
        shapes = self._reader.get_variable_to_shape_map()
        if _GRAPH in shapes:
            self._keys, pools = self._tf2_keys()
            present = {k for k in shapes if k.endswith(_ENDING)}
        else:
            present = {k for k in shapes if not _BESIDE.fullmatch(k)}
            self._keys, pools = _tf1_keys(shapes, present), False
        if not self._keys:
            raise _error(self.path, _of_another_model(present))
        self.shapes = {
            ours: tuple(shapes[key]) for ours, key in self._keys.items()
        }
        self.recognised = self._recognised(pools)
        self._refuse_pooled_twice(tf1=_GRAPH not in shapes)
        self._check(present - set(self._keys.values()))

    def _tf2_keys(self):
        """{path of ours: key}, and whether shortcuts are those of ResNet-D."""
        graph = self._whole(self._reader.get_tensor, _GRAPH)
        keys = self._whole(_keys_by_attributes, graph)
        known = names.from_tf2(keys)
        return (
            {ours: keys[path] for path, ours in known.items()},
            names.pools_before_shortcuts(keys),
        )

    def _refuse_pooled_twice(self, tf1):
        encoder = self.recognised.encoder
        if tf1 and encoder["depth"] < 50 and encoder["sk_ratio"]:
            raise _error(
                self.path,
                f"a TF1 {self.recognised}: Google's TF1 code pools what enters "
                "the blocks of this network, which no encoder here does",
            )

    def value(self, path):
        """The value of one of our variables, as an array.

        Raises:
            ValueError: if the file is damaged there.
        """
        return self._whole(self._reader.get_tensor, self._keys[path])

    def _whole(self, read, argument):
        try:
            return read(argument)
        except _UNREADABLE as error:
            reason = " ".join(str(getattr(error, "message", error)).split())
            raise _error(self.path, f"which is damaged ({reason})") from error

    def _recognised(self, pools):
        try:
            return recognition.recognise(self.shapes, pools)
        except ValueError as error:
            raise _error(self.path, error) from error

    def _check(self, unnamed):
        found, expected = self.shapes, self.recognised.variables()
        extra = [
            key.removesuffix(_ENDING)
            for key in sorted(unnamed)
            if not _BESIDE.fullmatch(key)
        ]
        extra += [path for path in found if path not in expected]
        reshaped = [
            f"{path} {list(found[path])} instead of {list(shape)}"
            for path, shape in expected.items()
            if found.get(path, shape) != shape
        ]
        missing = [path for path in expected if path not in found]
        parts = {
            "without": missing,
            "with unknown": extra,
            "with other shapes:": reshaped,
        }
        problems = [
            f"{what} {_listed(which)}" for what, which in parts.items() if which
        ]
        if problems:
            problems = "; ".join(problems)
            raise _error(
                self.path, f"recognised as {self.recognised}, but {problems}"
            )


def _tf1_keys(shapes, present):
    known = names.from_tf1({name: shapes[name] for name in present})
    return {ours: name for name, ours in known.items()}


def _keys_by_attributes(serialized):
    """{path of attributes from the root: key of the variable}.

    A SavedModel names variables by the shortest way to them, which may lead
    through a list of all; the way that Google's classes take is there too.
    """
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(serialized)
    keys, ahead = {}, [((), 0)]
    while ahead:
        path, number = ahead.pop()
        node = graph.nodes[number]
        for attribute in node.attributes:
            if attribute.name == _VALUE:
                keys["/".join(path)] = attribute.checkpoint_key
        for child in node.children:
            name = child.local_name
            if name in names.ATTRIBUTES or name.isdigit():
                ahead.append(((*path, name), child.node_id))
    return keys


def _of_another_model(present):
    shown = [name.removesuffix(_ENDING) for name in sorted(present)]
    return f"of another model, with {_listed(shown) or 'no variables'}"


def _listed(texts):
    more = len(texts) - _LISTED
    return ", ".join(texts[:_LISTED]) + (
        f" and {more} more" if more > 0 else ""
    )


def _error(path, problem):
    return ValueError(
        "`path` must be a checkpoint or SavedModel of google-research/simclr. "
        f"Received: {path}, {problem}"
    )
