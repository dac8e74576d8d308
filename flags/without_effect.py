"""Flags of Google's that change nothing here."""

# Of no influence on any result, so that commands which set them still run.
FLAGS = {
    "cache_dataset": "data that fits in memory is held there anyway",
    "eval_name": "Google's TF2 code ignores it too",
}


def notes(values):
    """One message per value that is accepted and changes nothing."""
    return [
        f"--{name} has no effect: {why}"
        for name, why in FLAGS.items()
        if values[name]
    ]


def help_note(name):
    """What --help and the documentation add about the flag `name`."""
    if name in FLAGS:
        return f" Accepted without effect: {FLAGS[name]}."
    return ""
