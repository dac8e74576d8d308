"""The settings of runs, as tables show them."""

_PLACES = ("model_dir", "overwrite")
# The page names the data set elsewhere; it decides which recipe is taken.
_ASIDE = ("dataset", *_PLACES)


def text(value):
    """A setting as it is written on the command line."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(text(part) for part in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def given(config):
    """[(name, value, origin)] of what was asked for, unlike the recipe."""
    return [
        (name, text(value), origin)
        for name, value, origin in _all(config)
        if origin not in ("recipe", "default") and name not in _ASIDE
    ]


def of_origin(config, wanted):
    """[(name, value)] of settings from "recipe" or "default" that are set."""
    return [
        (name, text(value))
        for name, value, origin in _all(config)
        if origin == wanted and value is not None and name not in _ASIDE
    ]


def differing(runs):
    """{name: [value of each run]} of the settings that runs differ in.

    Args:
        runs: list of `files.Run`. One without `config.json` has no values.
    """
    names = dict.fromkeys(name for run in runs for name in run.flags)
    found = {}
    for name in names:
        values = [text(run.flags[name]) for run in runs if name in run.flags]
        # A run of another version that had no such flag is no difference.
        if len(set(values)) > 1 and name not in _PLACES:
            found[name] = [
                text(run.flags[name]) if name in run.flags else ""
                for run in runs
            ]
    return found


def _all(config):
    origins = config["origins"]
    for name, value in config["flags"].items():
        yield name, value, origins.get(name, "default")
