"""Google's variables, by the keys of their checkpoints, in our models.

A key is the path of attributes to the variable, such as
`model/resnet_model/block_groups/0/layers/1/conv2d_bn_layers/3/bn/gamma`.
"""

import re

from simclr_keras import heads
from simclr_keras.resnet import resnet
from tests import golden

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"

# Place inside a residual block, without the variable's name -> our layer.
# Their lists also count layers without variables, so 6 is a convolution in a
# bottleneck and a batch norm in one with selective kernels.
_BLOCK = {
    "conv2d_bn_layers/0/conv2d": "conv1",
    "conv2d_bn_layers/1/bn": "bn1",
    "conv2d_bn_layers/2/conv2d": "conv2",
    "conv2d_bn_layers/3/bn": "bn2",
    "conv_relu_dropblock_layers/0/conv2d": "conv1",
    "conv_relu_dropblock_layers/1/bn": "bn1",
    "conv_relu_dropblock_layers/3/conv2d": "conv2",
    "conv_relu_dropblock_layers/4/bn": "bn2",
    "conv_relu_dropblock_layers/6/conv2d": "conv3",
    "conv_relu_dropblock_layers/7/bn": "bn3",
    "conv_relu_dropblock_layers/3/conv2d_fixed_padding/conv2d": "conv2",
    "conv_relu_dropblock_layers/3/batch_norm_relu/bn": "bn2",
    "conv_relu_dropblock_layers/3/conv2d_0": "sk_reduce",
    "conv_relu_dropblock_layers/3/batch_norm_relu_1/bn": "sk_bn",
    "conv_relu_dropblock_layers/3/conv2d_1": "sk_expand",
    "conv_relu_dropblock_layers/5/conv2d": "conv3",
    "conv_relu_dropblock_layers/6/bn": "bn3",
}
_SHORTCUT = re.compile(r"(?:projection|shortcut)_layers/\d+/(conv2d|bn)")
_SE = re.compile(r"(?:se_layer|conv_relu_dropblock_layers/\d+)/(se_\w+)")
_STEM = {
    "0/conv2d": "stem_conv",
    "2/bn": "stem_bn",
}
_DEEP_STEM = {
    "0/conv2d": "stem_conv1",
    "1/bn": "stem_bn1",
    "2/conv2d": "stem_conv2",
    "3/bn": "stem_bn2",
    "4/conv2d": "stem_conv",
    "6/bn": "stem_bn",
}


def variable_paths(keys):
    """{checkpoint key: path of our variable}, e.g. `stem_conv/kernel`.

    Takes all keys of a model, since those of the stem mean other layers where
    it has three convolutions.
    """
    deep = any("initial_conv_relu_max_pool/4/conv2d" in key for key in keys)
    stem = _DEEP_STEM if deep else _STEM
    return {key: _path(key.removesuffix(_SUFFIX), stem) for key in keys}


def _path(key, stem):
    place, name = key.removeprefix("model/").rsplit("/", 1)
    part, *rest = place.split("/", 1)
    if part == "resnet_model":
        return f"{_resnet_layer(rest[0], stem)}/{name}"
    if part == "_projection_head":
        index, layer = re.fullmatch(
            r"linear_layers/(\d+)/(dense|bn_relu/bn)", rest[0]
        ).groups()
        layer = "dense" if layer == "dense" else "bn"
        return f"projection{int(index) + 1}_{layer}/{name}"
    if place == "supervised_head/linear_layer/dense":
        return f"linear_probe/{name}"
    raise KeyError(key)


def _resnet_layer(place, stem):
    if place.startswith("initial_conv_relu_max_pool/"):
        return stem[place.split("/", 1)[1]]
    group, block, inner = re.fullmatch(
        r"block_groups/(\d+)/layers/(\d+)/(.+)", place
    ).groups()
    if shortcut := _SHORTCUT.fullmatch(inner):
        inner = "shortcut_conv" if shortcut[1] == "conv2d" else "shortcut_bn"
    elif se := _SE.fullmatch(inner):
        inner = se[1]
    else:
        inner = _BLOCK[inner]
    return f"group{int(group) + 1}_block{int(block) + 1}_{inner}"


def models(settings):
    """Encoder, projection head and linear probe by the flags of Google's run.

    The encoder takes images of any size, since the reference does.
    """
    batch_norm = {
        "global_bn": settings.get("global_bn", True),
        "batch_norm_momentum": settings.get("batch_norm_decay", 0.9),
    }
    encoder = resnet(
        settings.get("resnet_depth", 50),
        settings.get("width_multiplier", 1),
        sk_ratio=settings.get("sk_ratio", 0.0),
        se_ratio=settings.get("se_ratio", 0.0),
        stem="cifar" if settings.get("image_size", 224) <= 32 else "imagenet",
        image_size=None,
        **batch_norm,
    )
    head = heads.projection_head(
        encoder.output_shape[-1],
        settings.get("num_proj_layers", 3),
        settings.get("proj_out_dim", 128),
        **batch_norm,
    )
    selected = heads.head_outputs(head).output_shape[
        settings.get("ft_proj_selector", 0)
    ]
    probe = heads.linear_probe(selected[-1], settings.get("num_classes", 1000))
    return encoder, head, probe


def variables(*models):
    """{path: variable} of all models; paths are unique among them."""
    found = {v.path: v for model in models for v in model.variables}
    if len(found) != sum(len(model.variables) for model in models):
        raise AssertionError("two variables have one path")
    return found


def assign_deterministic(models, names, keys):
    """Gives the models the weights of the golden files' rule.

    Args:
        models: encoder, projection head, linear probe.
        names: the reference's name of every variable.
        keys: its checkpoint key of every variable, in the same order.

    Returns:
        {reference name: our variable}.
    """
    ours, paths = variables(*models), variable_paths(keys)
    if set(ours) != set(paths.values()):
        raise AssertionError(set(ours) ^ set(paths.values()))
    by_name = {
        name: ours[paths[key]] for name, key in zip(names, keys, strict=True)
    }
    for name, variable in by_name.items():
        variable.assign(golden.weight(name, variable.shape))
    return by_name
