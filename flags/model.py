"""Model: the encoder, the projection head and the contrastive loss."""

from simclr_keras.flags import data
from simclr_keras.flags import definitions
from simclr_keras.flags import run

_RESNET_DEPTH = definitions.choice(
    "resnet_depth",
    50,
    [18, 34, 50, 101, 152, 200],
    "Number of layers of the ResNet encoder. Paper: 50 to 200.",
)
_WIDTH_MULTIPLIER = definitions.number(
    "width_multiplier",
    1.0,
    "Factor on the number of channels of the encoder. Paper: 1, 2, 4. "
    "Fractions make small encoders: 0.25 trains on a CPU.",
    above=0,
)
_STEM = definitions.choice(
    "stem",
    None,
    ["cifar", "imagenet"],
    "First layers of the encoder. cifar: a 3x3 convolution at full "
    "resolution. imagenet: a 7x7 convolution and a pooling, each halving "
    "the resolution. By default cifar up to 32 pixels.",
)
_SK_RATIO = definitions.number(
    "sk_ratio",
    0.0,
    "Selective kernels, and the ResNet-D stem and shortcuts, if above 0: "
    "share of the channels that decide between kernels. SimCLRv2: 0.0625.",
    minimum=0,
    maximum=1,
)
_SE_RATIO = definitions.number(
    "se_ratio",
    0.0,
    "Squeeze-and-excitation if above 0: share of the channels between its "
    "two layers. Not in the papers; usually 0.0625.",
    minimum=0,
    maximum=1,
)
_GLOBAL_BN = definitions.switch(
    "global_bn",
    True,
    "Batch norm over the images of all replicas instead of each one's own, "
    "which tell partners apart. One replica: no difference.",
)
_BATCH_NORM_DECAY = definitions.number(
    "batch_norm_decay",
    0.9,
    "Share of batch norm's moving statistics that a step keeps.",
    minimum=0,
    below=1,
)
_PROJ_HEAD_MODE = definitions.choice(
    "proj_head_mode",
    "nonlinear",
    ["none", "linear", "nonlinear"],
    "Projection head between features and loss. Paper: nonlinear is 3 points "
    "better than linear and more than 10 better than none.",
)
_NUM_PROJ_LAYERS = definitions.integer(
    "num_proj_layers",
    3,
    "Layers of the nonlinear projection head. SimCLR: 2, SimCLRv2: 3.",
    minimum=1,
)
_PROJ_OUT_DIM = definitions.integer(
    "proj_out_dim",
    128,
    "Numbers per projection, on which the loss works. Paper: 128; matters "
    "little.",
    minimum=1,
)
_FT_PROJ_SELECTOR = definitions.integer(
    "ft_proj_selector",
    0,
    "Layer of the projection head that a classifier sees, online or in "
    "fine-tuning: 0 its input, 1 its first layer, ..., -1 its output. "
    "SimCLRv2: 1 for few labels.",
    minimum=-1,
)
_TEMPERATURE = definitions.number(
    "temperature",
    0.1,
    "Divisor of the cosine similarities in the loss; lower gives similar "
    "images more weight. Paper: 0.1 for ImageNet, 0.5 for CIFAR-10.",
    above=0,
)
_HIDDEN_NORM = definitions.switch(
    "hidden_norm",
    True,
    "Normalise projections to length 1 before the loss. Without it the "
    "paper needed temperatures of 10 to 100 and lost 7 points.",
)


def resnet():
    """Arguments of `simclr_keras.resnet`."""
    return {
        "depth": _RESNET_DEPTH.value,
        "width": _WIDTH_MULTIPLIER.value,
        "sk_ratio": _SK_RATIO.value,
        "se_ratio": _SE_RATIO.value,
        "stem": _STEM.value,
        "image_size": data.image_size(),
        "global_bn": _GLOBAL_BN.value,
        "batch_norm_momentum": _BATCH_NORM_DECAY.value,
        "seed": run.seed(),
    }


def projection_head():
    """Arguments of `simclr_keras.projection_head` besides `features`."""
    return {
        "layers": _NUM_PROJ_LAYERS.value,
        "out_dim": _PROJ_OUT_DIM.value,
        "mode": _PROJ_HEAD_MODE.value,
        "global_bn": _GLOBAL_BN.value,
        "batch_norm_momentum": _BATCH_NORM_DECAY.value,
        "seed": run.seed(),
    }


def simclr():
    """Arguments of `simclr_keras.SimCLR` besides its parts."""
    return {
        "temperature": _TEMPERATURE.value,
        "hidden_norm": _HIDDEN_NORM.value,
        "ft_proj_selector": _FT_PROJ_SELECTOR.value,
        "seed": run.seed(),
    }
