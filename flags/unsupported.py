"""Values that the flags know and this version cannot honour.

The whole list is here. Whoever builds the capability deletes the line.
"""

from simclr_keras.flags import catalogue

# flag: (values that work, what the others need)
NOT_YET = {
    "train_mode": (("pretrain",), "fine-tuning"),
    "checkpoint": ((None,), "starting from other weights"),
}

# Of no influence on any result, so that commands which set them still run.
WITHOUT_EFFECT = {
    "cache_dataset": "data that fits in memory is held there anyway",
    "eval_name": "Google's TF2 code ignores it too",
}


def problems(values):
    """One message per value in `values` that is not supported yet."""
    return [
        f"flag --{name}={catalogue.as_text(values[name])}: {needs} is not "
        "supported yet; leave the flag out"
        for name, (supported, needs) in NOT_YET.items()
        if values[name] not in supported
    ]


def notes(values):
    """One message per value that is accepted and changes nothing."""
    return [
        f"--{name} has no effect: {why}"
        for name, why in WITHOUT_EFFECT.items()
        if values[name]
    ]


def help_note(name):
    """What --help and the documentation add about the flag `name`."""
    if name in NOT_YET:
        supported, needs = NOT_YET[name]
        values = " or ".join(map(catalogue.as_text, supported))
        return f" Not supported yet: {needs}. Only: {values}."
    if name in WITHOUT_EFFECT:
        return f" Accepted without effect: {WITHOUT_EFFECT[name]}."
    return ""
