"""The page docs/flags.md, from the definitions themselves.

python -m simclr_keras.flags.documentation > docs/flags.md
"""

from simclr_keras.flags import catalogue
from simclr_keras.flags import google
from simclr_keras.flags import recipes
from simclr_keras.flags import without_effect

_INTRODUCTION = """\
# Flags

Written by `python -m simclr_keras.flags.documentation > docs/flags.md`; a test
keeps it in step with the definitions in `flags/`.

Every flag of Google's SimCLR keeps its name and meaning, so the commands of
its READMEs parse unchanged on `train.py`. A flag that is not given takes its
value from the [recipe](#recipes) of the data set, else its default. A run
prints every value with its origin (command line, flagfile, checkpoint, recipe,
default)
and keeps them in `config.json` and, for `--flagfile=`, in `run.flags`.

A mistake ends the run within a second with exit code 2 and one line per
problem: wrong type or range, unknown name (with the nearest one), a missing
path, flags that contradict each other or have no effect together. A later
flag overrules an earlier one, and so a command line what its flagfile says
before it. Switches are written `--use_blur`, `--nouse_blur` or
`--use_blur=false`; lists are separated by commas.

The default column says "recipe" where a recipe may set another value."""

_DEVIATIONS = """\
Besides these, [recipes](#recipes) set values where Google's code takes its
defaults."""

_RECIPES = """\
Known data sets have their own; others get one by the size of the images that
the encoder sees."""

_DERIVED = """\
What follows from other values is worked out, so that a recipe fits the flags
that are given beside it:

- up to 32 pixels: stem `cifar`, no blur, jitter strength 0.5; above: stem
  `imagenet`, blur, strength 1;
- images of unknown data sets keep their size up to 32 pixels; above, it is
  rounded down to a multiple of 32, and is at most 224;
- a batch is at most the number of images, as a power of 2;
- where no number of epochs is listed, as many as make 2000 steps, but at least
  20 and at most 1000;
- few-label probes have at most the images of the smallest class;
- warm-up takes 10 epochs, or a tenth of a shorter run;
- a checkpoint is written every twentieth of the run, and at its end;
- `--learning_rate` without `--learning_rate_scaling` is linear, per 256
  images; the scaling alone keeps the recipe's peak;
- other optimizers than LARS have learning rates of their own, per 256 images:
  {rates};
- `--train_mode=finetune` takes the papers' settings: `momentum` with 0.05 per
  256 images (0.1 for the classifier alone, `--fine_tune_after_block=4`), LARS
  with 0.005 times the root of the batch, no weight decay, no warm-up, batches
  of 256; 60 epochs with up to 5 % of the labels or `--labels_per_class`, 30
  with more, 90 for the classifier alone, and in any case enough epochs for 500
  steps, which 60 epochs of few images are not;
- `--train_mode=distill` takes those of pretraining, in half the epochs;
- `--checkpoint` decides architecture and image size, except where it teaches:
  a student is what its own flags say."""


def markdown():
    """The whole page as text."""
    parts = [_INTRODUCTION]
    for title, group in catalogue.concerns():
        parts += [f"## {title.split(':')[0]}", _flag_table(group)]
    parts += ["## Deviations from Google's flags", _DEVIATIONS, _deviations()]
    parts += ["## Recipes", _recipe_text(), _recipe_table()]
    parts += ["## Flags without effect", _without_effect()]
    return "\n\n".join(parts) + "\n"


def _flag_table(group):
    rows = [
        (
            f"`--{flag.name}`",
            _default(flag),
            "Google" if flag.name in google.DEFAULTS else "ours",
            flag.help + without_effect.help_note(flag.name),
        )
        for flag in group
    ]
    return _table(("flag", "default", "whose", "meaning"), rows)


def _default(flag):
    words = [] if flag.default is None else [f"`{_text(flag.default)}`"]
    if flag.name in recipes.FILLED:
        words.append("recipe")
    return ", ".join(words) or "unset"


def _deviations():
    ours = catalogue.definitions()
    rows = [
        (
            f"`--{name}`",
            f"`{_text(google.DEFAULTS[name])}`",
            f"`{_text(ours[name].default)}`",
            why,
        )
        for name, why in google.DEVIATIONS.items()
    ]
    return _table(("flag", "Google's default", "ours", "difference"), rows)


def _recipe_text():
    lines = [
        f"- **{recipe.name}**: {recipe.source}." for recipe in _all_recipes()
    ]
    rates = ", ".join(f"{name} {r:g}" for name, r in recipes.RATES.items())
    return "\n".join([_RECIPES, "", *lines, "", _DERIVED.format(rates=rates)])


def _recipe_table():
    known = _all_recipes()
    names = [
        name
        for name in catalogue.definitions()
        if any(name in recipe.settings for recipe in known)
    ]
    rows = [
        (
            f"`--{name}`",
            *(_text(recipe.settings.get(name, "")) for recipe in known),
        )
        for name in names
    ]
    return _table(("flag", *(recipe.name for recipe in known)), rows)


def _without_effect():
    rows = [(f"`--{name}`", why) for name, why in without_effect.FLAGS.items()]
    return _table(("flag", "because"), rows)


def _all_recipes():
    return [*recipes.RECIPES.values(), recipes.SMALL, recipes.LARGE]


def _text(value):
    return catalogue.as_text(value)


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(markdown(), end="")
