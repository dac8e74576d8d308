"""Which network variables belong to, by their paths and shapes."""

import re
import typing

import keras

from simclr_keras import heads
from simclr_keras.resnet import DEPTHS
from simclr_keras.resnet import resnet

# Where selective kernels were asked for and have no variables, any will do.
_SIMCLR_V2_SK_RATIO = 0.0625

_BLOCK = re.compile(r"group(\d)_block(\d+)_(\w+)/kernel")


class Recognised(typing.NamedTuple):
    """Arguments of our functions that build what was found.

    encoder: of `resnet`; projection_head: of `projection_head`, or None;
    linear_probe: of `linear_probe`, or None.
    """

    encoder: dict
    projection_head: dict | None
    linear_probe: dict | None

    def build(self, image_size=None):
        """Encoder, and the heads or None in their places."""
        head, probe = self.projection_head, self.linear_probe
        return (
            resnet(**self.encoder, image_size=image_size),
            head and heads.projection_head(**head),
            probe and heads.linear_probe(**probe),
        )

    def variables(self):
        """{path: shape} of all variables, none of which is allocated."""
        # The widest network has 795 million values.
        with keras.StatelessScope(initialize_variables=False):
            models = [model for model in self.build() if model is not None]
        return {
            v.path: tuple(v.shape) for model in models for v in model.variables
        }

    def __str__(self):
        found = self.encoder
        text = f"ResNet-{found['depth']}, width {found['width']}"
        for name in ("sk_ratio", "se_ratio"):
            if found[name]:
                text += f", {name} {found[name]:g}"
        text += f", {found['stem']} stem"
        if head := self.projection_head:
            text += (
                f"; projection head of {head['layers']} layers to "
                f"{head['out_dim']} values"
            )
        if probe := self.linear_probe:
            text += (
                f"; supervised head from {probe['features']} values to "
                f"{probe['num_classes']} classes"
            )
        return text


def recognise(shapes, pools_before_shortcuts=False):
    """The network of these variables.

    Args:
        shapes: {path of our variable: shape}; some may be missing.
        pools_before_shortcuts: whether it is known to be a ResNet-D.

    Returns:
        `Recognised`.

    Raises:
        ValueError: if they are of no network of ours, with the reason as the
            end of a sentence.
    """
    stem = shapes.get("stem_conv/kernel")
    if stem is None:
        raise ValueError("without the kernel of the stem's last convolution")
    width = stem[-1] / 64
    deep = "stem_conv1/kernel" in shapes
    sk_ratio = _ratio(shapes, "sk_reduce", width)
    if not sk_ratio and (deep or pools_before_shortcuts):
        sk_ratio = _SIMCLR_V2_SK_RATIO
    encoder = {
        "depth": _depth(shapes),
        "width": int(width) if width.is_integer() else width,
        "sk_ratio": sk_ratio,
        "se_ratio": _ratio(shapes, "se_reduce", width),
        "stem": "imagenet" if deep or stem[0] == 7 else "cifar",
    }
    return Recognised(encoder, _head(shapes), _probe(shapes))


def _depth(shapes):
    blocks = [_BLOCK.fullmatch(path) for path in shapes]
    blocks = [match for match in blocks if match]
    counts = tuple(
        max((int(m[2]) for m in blocks if int(m[1]) == group), default=0)
        for group in range(1, 5)
    )
    bottleneck = any(match[3] == "conv3" for match in blocks)
    for depth, network in DEPTHS.items():
        if network == (counts, bottleneck):
            return depth
    kind = "bottlenecks" if bottleneck else "blocks of two convolutions"
    raise ValueError(
        f"with {', '.join(map(str, counts))} {kind} in its groups, "
        f"which no ResNet of depth {', '.join(map(str, DEPTHS))} has"
    )


def _ratio(shapes, layer, width):
    """Channels of `layer` over those of its block; in the widest group."""
    found = []
    for path, shape in shapes.items():
        match = _BLOCK.fullmatch(path)
        if match and match[3] == layer:
            channels = 64 * width * 2 ** (int(match[1]) - 1)
            found.append((int(match[1]), shape[-1] / channels))
    return max(found, default=(0, 0.0))[1]


def _head(shapes):
    layers = {
        int(match[1]): shapes[match[0]]
        for path in shapes
        if (match := re.fullmatch(r"projection(\d+)_dense/kernel", path))
    }
    if not layers:
        return None
    last = max(layers)
    return {
        "features": layers[min(layers)][0],
        "layers": last,
        "out_dim": layers[last][-1],
    }


def _probe(shapes):
    kernel = shapes.get("linear_probe/kernel")
    if kernel is None:
        return None
    return {"features": kernel[0], "num_classes": kernel[-1]}
