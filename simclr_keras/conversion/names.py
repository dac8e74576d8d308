"""What Google's variables are called, in TF1 and TF2, and here.

TF2 variables go by attributes, such as
`model/resnet_model/block_groups/0/layers/1/conv2d_bn_layers/3/bn/gamma`. TF1
numbers the layers of a network in the order of construction, as in
`base_model/batch_normalization_7/gamma`, so its names mean something only
where the whole network is known. Facts from google-research/simclr at commit
383d414: tf2/resnet.py, tf2/model.py, resnet.py, model_util.py.
"""

import itertools
import re

from simclr_keras.resnet import DEPTHS

# Attributes on the way to a variable of the TF2 model.
ATTRIBUTES = frozenset(
    """
    model resnet_model initial_conv_relu_max_pool block_groups layers
    conv2d_bn_layers conv_relu_dropblock_layers shortcut_layers
    projection_layers conv2d_fixed_padding batch_norm_relu batch_norm_relu_1
    conv2d conv2d_0 conv2d_1 bn bn_relu se_layer se_reduce se_expand
    _projection_head linear_layers supervised_head linear_layer dense
    kernel bias gamma beta moving_mean moving_variance
    """.split()
)

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
_TF2 = re.compile(
    r"model/(?:resnet_model/(?:initial_conv_relu_max_pool/(?P<stem>.+)"
    r"|block_groups/(?P<group>\d+)/layers/(?P<block>\d+)/(?P<inner>.+))"
    r"|_projection_head/linear_layers/(?P<head>\d+)/"
    r"(?P<part>dense|(?:bn_relu/)?bn)"
    r"|(?P<probe>supervised_head/linear_layer/dense))/(?P<name>\w+)"
)
_SHORTCUT = re.compile(r"(?:projection|shortcut)_layers/(\d+)/(conv2d|bn)")
_SE = re.compile(r"(?:se_layer|conv_relu_dropblock_layers/\d+)/(se_\w+)")

_TF1_LAYER = re.compile(
    r"base_model/(conv2d|batch_normalization)(?:_(\d+))?/(\w+)"
)
_TF1_HEAD = re.compile(
    r"head_contrastive/n?l_(\d+)/(dense|batch_normalization)/(\w+)"
)
_TF1_PROBE = "head_supervised/linear_layer/dense/"


def from_tf2(paths):
    """{path of attributes: path of our variable}, of those that are known.

    Takes all paths of a model, since those of the stem mean other layers
    where it has three convolutions.
    """
    deep = any("initial_conv_relu_max_pool/4/conv2d" in path for path in paths)
    stem = _DEEP_STEM if deep else _STEM
    found = {path: _tf2_path(path, stem) for path in paths}
    return {path: ours for path, ours in found.items() if ours is not None}


def pools_before_shortcuts(paths):
    """Whether shortcuts are those of ResNet-D, by the TF2 paths."""
    shortcuts = (_SHORTCUT.search(path) for path in paths)
    return any(
        match[2] == "conv2d" and int(match[1]) > 0
        for match in shortcuts
        if match
    )


def from_tf1(shapes):
    """{TF1 name: path of our variable}, of those that are known.

    Args:
        shapes: {TF1 name: shape} of all variables of a model.

    Returns:
        An empty dict if the convolutions are of no ResNet with or without
        selective kernels and squeeze-and-excitation.
    """
    layers = {name: _TF1_LAYER.fullmatch(name) for name in shapes}
    layers = {
        name: (match[1], int(match[2] or 0), match[3])
        for name, match in layers.items()
        if match
    }
    order = _order_of(
        {
            number: (
                shapes[name][0],
                f"{name.rpartition('/')[0]}/bias" in shapes,
            )
            for name, (kind, number, variable) in layers.items()
            if (kind, variable) == ("conv2d", "kernel")
        }
    )
    if order is None:
        return {}
    found = {name: _tf1_head_path(name) for name in shapes}
    for name, (kind, number, variable) in layers.items():
        if number < len(order[kind]):
            found[name] = f"{order[kind][number]}/{variable}"
    return {name: ours for name, ours in found.items() if ours is not None}


def _tf2_path(path, stem):
    match = _TF2.fullmatch(path)
    if match is None:
        return None
    if match["probe"]:
        layer = "linear_probe"
    elif match["head"]:
        part = "dense" if match["part"] == "dense" else "bn"
        layer = f"projection{int(match['head']) + 1}_{part}"
    elif match["stem"]:
        layer = stem.get(match["stem"])
    else:
        inner = _inside_block(match["inner"])
        group, block = int(match["group"]) + 1, int(match["block"]) + 1
        layer = inner and f"group{group}_block{block}_{inner}"
    return layer and f"{layer}/{match['name']}"


def _inside_block(inner):
    if shortcut := _SHORTCUT.fullmatch(inner):
        return "shortcut_conv" if shortcut[2] == "conv2d" else "shortcut_bn"
    if se := _SE.fullmatch(inner):
        return se[1]
    return _BLOCK.get(inner)


def _tf1_head_path(name):
    if match := _TF1_HEAD.fullmatch(name):
        part = "dense" if match[2] == "dense" else "bn"
        return f"projection{int(match[1]) + 1}_{part}/{match[3]}"
    if name.startswith(_TF1_PROBE):
        return f"linear_probe/{name.removeprefix(_TF1_PROBE)}"
    return None


def _order_of(convolutions):
    """The network with these convolutions, of which some may be missing.

    Args:
        convolutions: {number: (kernel size, has a bias)}.

    Returns:
        {"conv2d": our layers in TF1's order, "batch_normalization": ...}, or
        None.
    """
    for network in _networks():
        kinds = [kind for _, kind in network if kind is not None]
        if convolutions.items() <= dict(enumerate(kinds)).items():
            return {
                "conv2d": [layer for layer, kind in network if kind],
                "batch_normalization": [
                    layer for layer, kind in network if not kind
                ],
            }
    return None


def _networks():
    """Layers of every network in TF1's order: [(name, kind), ...].

    The kind is (kernel size, has a bias), or None of a batch norm.
    """
    for depth, selective, excited, cifar in itertools.product(
        DEPTHS, *[(False, True)] * 3
    ):
        counts, bottleneck = DEPTHS[depth]
        branch = _branch(bottleneck, selective, excited)
        network = _stem(selective, cifar)
        for group, count in enumerate(counts, start=1):
            for block in range(1, count + 1):
                first = _normed("shortcut_", "", 1) if block == 1 else []
                network += [
                    (f"group{group}_block{block}_{layer}", kind)
                    for layer, kind in first + branch
                ]
        yield network


def _stem(selective, cifar):
    if selective and not cifar:
        return [
            *_normed("stem_", "1", 3),
            *_normed("stem_", "2", 3),
            *_normed("stem_", "", 3),
        ]
    return _normed("stem_", "", 3 if cifar else 7)


def _branch(bottleneck, selective, excited):
    layers = [*_normed("", "1", 1 if bottleneck else 3), *_normed("", "2", 3)]
    if bottleneck and selective:
        layers += [
            ("sk_reduce", (1, False)),
            ("sk_bn", None),
            ("sk_expand", (1, False)),
        ]
    if bottleneck:
        layers += _normed("", "3", 1)
    if excited:
        layers += [("se_reduce", (1, True)), ("se_expand", (1, True))]
    return layers


def _normed(start, end, kernel_size):
    return [
        (f"{start}conv{end}", (kernel_size, False)),
        (f"{start}bn{end}", None),
    ]
