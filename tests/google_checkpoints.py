"""Writes checkpoints in the formats that google-research/simclr published.

Their values follow the rule of the golden files. TF1 names are made from the
reference's TF2 names, whose running numbers follow the same order.
"""

import re
import typing

import numpy as np
import tensorflow as tf

from tests import golden

_Node = tf.__internal__.tracking.AutoTrackable
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_TF1_SCOPES = {
    "resnet": "base_model",
    "projection_head": "head_contrastive",
    "head_supervised": "head_supervised",
}


class Variable(typing.NamedTuple):
    """The reference's name, its key in a checkpoint, and the value."""

    name: str
    key: str
    value: np.ndarray

    @property
    def tf1_name(self):
        scope, *middle, layer, kind = self.name.split("/")
        if scope != "resnet":
            # Numbered within the scope of their layer, hence not at all.
            layer = re.sub(r"_\d+$", "", layer)
        layer = layer.replace("sync_batch", "batch")
        inner = middle[:1] if scope != "resnet" else []
        return "/".join([_TF1_SCOPES[scope], *inner, layer, kind])


def of_file(arrays):
    """Variables of a golden `resnet_*.npz`."""
    return [
        Variable(str(name), str(key), golden.weight(str(name), shape))
        for name, key, shape in zip(
            arrays["var_names"],
            arrays["var_ckpt_keys"],
            golden.text(arrays["var_shapes"]),
            strict=True,
        )
    ]


def of_heads(heads, prefix, supervised):
    """Variables of a head in the golden `heads.npz`, on a tiny encoder."""
    width = heads["inputs"].shape[-1] / 512
    found = [v for v in tiny(width) if v.name.startswith("resnet/")]
    names = [str(name) for name in heads[f"{prefix}_var_names"]]
    shapes = golden.text(heads[f"{prefix}_var_shapes"])
    for name, shape in zip(names, shapes, strict=True):
        layer, kind = re.search(r"l_(\d+)/.*?(\w+)$", name).groups()
        part = "dense" if "/dense" in name else "bn_relu/bn"
        key = f"model/_projection_head/linear_layers/{layer}/{part}/{kind}"
        found.append(Variable(name, key + _SUFFIX, golden.weight(name, shape)))
    classes = heads[f"sup_logits_{supervised}"].shape[-1]
    for name in map(str, heads[f"sup_var_names_{supervised}"]):
        kind = name.rpartition("/")[2]
        shape = [heads["inputs"].shape[-1], classes][kind == "bias" :]
        key = f"model/supervised_head/linear_layer/dense/{kind}"
        found.append(Variable(name, key + _SUFFIX, golden.weight(name, shape)))
    return found


def tiny(width=1 / 16):
    """Variables of the plainest ResNet with its heads, made narrower."""
    models = golden.load_json("variables.json")["models"].values()
    model = min(
        models,
        key=lambda model: (
            model["num_variables"],
            model["settings"].get("image_size", 224),
        ),
    )
    return [
        Variable(name, key, golden.weight(name, _narrowed(shape, width)))
        for name, shape, _, key in model["variables"]
    ]


def write_tf2(variables, folder, training=True, step=7):
    """`ckpt-<step>` as tf2/run.py saves it, with optimizer if `training`."""
    model, values = _tree(variables)
    parts = {"model": model}
    if training:
        parts["global_step"] = tf.Variable(step, dtype=tf.int64)
        parts["optimizer"] = tf.compat.v1.train.MomentumOptimizer(0.1, 0.9)
        for variable in variables:
            if "moving" not in variable.key:
                # As LARS calls its slots.
                value = values[variable.key]
                parts["optimizer"]._zeros_slot(value, "Momentum", "Momentum")
    checkpoint = tf.train.Checkpoint(**parts)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), 5)
    return manager.save(checkpoint_number=step)


def write_saved_model(variables, folder):
    """A SavedModel as tf2/run.py exports it.

    Keras' lists of all variables stand beside the attributes, and give the
    variables shorter names than those.
    """
    root = _Node()
    root.model, values = _tree(variables)
    root.model.variables = list(values.values())
    root.trainable_variables_list = [
        values[v.key] for v in variables if "moving" not in v.key
    ]
    tf.saved_model.save(root, str(folder))


def write_tf1(variables, prefix, pretraining=True):
    """A TF1 checkpoint, with the optimizer's slots and averaged weights."""
    named = {v.tf1_name: v.value for v in variables}
    if pretraining:
        named |= {f"{name}/Momentum": v for name, v in [*named.items()]}
        named |= {
            f"ema_model/{name}": value + 1
            for name, value in named.items()
            if name.startswith(("base_model/", "head_contrastive/"))
        }
        named["global_step"] = np.int64(7)
    write_named(named, prefix)


def write_hub_module(variables, folder):
    """A hub module of TF1, as run.py exports it."""
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")
    prefix = folder / "variables" / "variables"
    write_tf1(variables, prefix, pretraining=False)


def write_named(arrays, prefix):
    """A checkpoint of {name: array}, and nothing else."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=list(arrays.values()),
    )


def _tree(variables):
    """The node `model` and {key: tf.Variable} below it."""
    root, values = _Node(), {}
    for variable in variables:
        *path, last = variable.key.removesuffix(_SUFFIX).split("/")
        node = root
        for name in path:
            if not hasattr(node, name):
                setattr(node, name, _Node())
            node = getattr(node, name)
        values[variable.key] = tf.Variable(variable.value)
        setattr(node, last, values[variable.key])
    return root.model, values


def _narrowed(shape, width):
    """Channels times `width`; kernel sizes, colours and classes stay."""
    return [n if n % 64 else round(n * width) for n in shape]
