"""Google's variables, by the keys of their checkpoints, in our models.

A key is the path of attributes to the variable, such as
`model/resnet_model/block_groups/0/layers/1/conv2d_bn_layers/3/bn/gamma`.
"""

from simclr_keras import heads
from simclr_keras.conversion import names
from simclr_keras.resnet import resnet
from tests import golden

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def variable_paths(keys):
    """{checkpoint key: path of our variable}, e.g. `stem_conv/kernel`.

    Takes all keys of a model.
    """
    paths = names.from_tf2([key.removesuffix(_SUFFIX) for key in keys])
    return {key: paths[key.removesuffix(_SUFFIX)] for key in keys}


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


def assign_deterministic(models, var_names, keys):
    """Gives the models the weights of the golden files' rule.

    Args:
        models: encoder, projection head, linear probe.
        var_names: the reference's name of every variable.
        keys: its checkpoint key of every variable, in the same order.

    Returns:
        {reference name: our variable}.
    """
    ours, paths = variables(*models), variable_paths(keys)
    if set(ours) != set(paths.values()):
        raise AssertionError(set(ours) ^ set(paths.values()))
    by_name = {
        name: ours[paths[key]]
        for name, key in zip(var_names, keys, strict=True)
    }
    for name, variable in by_name.items():
        variable.assign(golden.weight(name, variable.shape))
    return by_name
