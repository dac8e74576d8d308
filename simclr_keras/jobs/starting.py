"""Weights to start from: of `--checkpoint`, and of `--init_from`."""

import simclr_keras
from simclr_keras import flags
from simclr_keras.flags import data as data_flags
from simclr_keras.flags import devices as device_flags
from simclr_keras.flags import finetuning as finetuning_flags
from simclr_keras.flags import model as model_flags
from simclr_keras.flags import run as run_flags

_ENCODER = {
    "resnet_depth": "depth",
    "width_multiplier": "width",
    "stem": "stem",
    "sk_ratio": "sk_ratio",
    "se_ratio": "se_ratio",
}
_HEAD = {"num_proj_layers": "layers", "proj_out_dim": "out_dim"}


def weights():
    """The `Pretrained` of `--checkpoint`; None without one, or if it teaches.

    A mistake ends the program with a message.
    """
    path = finetuning_flags.checkpoint()
    if path is None or finetuning_flags.train_mode() == "distill":
        return None
    try:
        found = simclr_keras.pretrained.load(path)
    except ValueError as error:
        flags.refuse(f"flag --checkpoint={path}: {error}")
    _check_parts(found)
    return found


def settings(found, given):
    """Flags that `Pretrained` weights decide: name -> value."""
    if found is None:
        return {}
    decided = {}
    if found.image_size is not None:
        decided["image_size"] = found.image_size
    if found.recognised is not None:
        parts = found.recognised
        decided |= {n: parts.encoder[key] for n, key in _ENCODER.items()}
        if parts.projection_head is not None:
            decided |= {n: parts.projection_head[k] for n, k in _HEAD.items()}
    for name in ("sk_ratio", "se_ratio"):
        # Shapes tell the ratio up to rounding.
        if decided.get(name) and name in given and model_flags.resnet()[name]:
            del decided[name]
    return decided


def parts(found):
    """Encoder and head as the flags, now resolved, want them.

    Returns:
        (encoder, projection head or None), in the precision of the run.
    """
    found = found.at_size(data_flags.image_size())
    schema = finetuning_flags.variable_schema()
    if schema is not None:
        _take_matching(found, schema)
    policy = device_flags.dtype_policy()
    return tuple(
        model
        and simclr_keras.normalization.fused_batch_norm(model, dtype=policy)
        for model in (found.encoder, found.projection_head)
    )


def init_from(model):
    """Starts from the weights of `--init_from`, and says which they are."""
    path = run_flags.init_from()
    try:
        print(simclr_keras.initialization.init_from(model, path))
    except ValueError as error:
        flags.refuse(f"flag --init_from={path}: {error}")


def _take_matching(found, schema):
    taken = found.keep_matching(schema)
    if not taken:
        flags.refuse(
            f"flag --variable_schema={schema}: must match variables of "
            "--checkpoint, such as base_model/stem_conv/kernel"
        )
    print(f"variables taken: {len(taken)} of {len(found.weights)}")


def _check_parts(found):
    """Refuses flags that ask for what the weights have not."""
    selector = model_flags.simclr()["ft_proj_selector"]
    block = finetuning_flags.fine_tuned()["fine_tune_after_block"]
    if block in range(4) and found.recognised is None:
        flags.refuse(
            f"flag --fine_tune_after_block={block}: must be -1 or 4 for the "
            "encoder of --checkpoint, which has no blocks of a ResNet here"
        )
    if not selector:
        return
    if found.projection_head is None:
        flags.refuse(
            f"flag --ft_proj_selector={selector}: must be 0 with this "
            "--checkpoint, which has no projection head"
        )
    outputs = simclr_keras.heads.head_outputs(found.projection_head).outputs
    if selector >= len(outputs):
        flags.refuse(
            f"flag --ft_proj_selector={selector}: must be at most "
            f"{len(outputs) - 1}, the layers of the projection head in "
            "--checkpoint"
        )
