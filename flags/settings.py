"""Settings: every flag's value in this run, and where it came from."""

import dataclasses
import os
import textwrap

from simclr_keras.flags import catalogue
from simclr_keras.flags import command_line
from simclr_keras.flags import recipes
from simclr_keras.flags import rules
from simclr_keras.flags import without_effect

_WIDTH = 79

# Change nothing that a run computes, or
_UNSEEN = frozenset(
    {
        "model_dir",
        "overwrite",
        "data_dir",
        "download",
        "max_skipped",
        "cache_dataset",
        "checkpoint_epochs",
        "checkpoint_steps",
        "keep_checkpoint_max",
        "train_summary_steps",
        "lr_range_test",
        "eval_every",
        "eval_patience",
        # Replicas compute what one would, up to rounding.
        "strategy",
        "devices",
        "use_tpu",
        "tpu_name",
        "tpu_zone",
        "gcp_project",
        "master",
    }
)
# only what is done after training.
_AFTERWARDS = frozenset(
    {
        "mode",
        "evaluations",
        "labels_per_class",
        "label_draws",
        "knn_k",
        "knn_temperature",
        "eval_batch_size",
        "eval_steps",
        "eval_name",
        "export",
        "keep_hub_module_max",
        "serving_precision",
    }
)

_NOT_KEPT = ("overwrite", "lr_range_test")


@dataclasses.dataclass(frozen=True)
class Resolved:
    """Every flag of this package, resolved.

    Attributes:
        recipe: `recipes.Recipe` that filled in what was not given.
        settings: flag name -> (value, origin), where origin is one of
            "command line", "flagfile", "checkpoint", "recipe", "default".
        notes: list of str, what is accepted and seldom meant.
    """

    recipe: recipes.Recipe
    settings: dict
    notes: list

    def __getitem__(self, name):
        return self.settings[name]

    def as_dict(self):
        """Recipe, and flags and origins by flag name, for config.json."""
        return {
            "recipe": self.recipe.name,
            "flags": {
                name: value for name, (value, _) in self.settings.items()
            },
            "origins": {name: by for name, (_, by) in self.settings.items()},
        }

    def differences(self, before):
        """What would make a continued run another one, a line for each.

        Args:
            before: flag name -> value, of `as_dict` of the run so far.
        """
        return [
            f"--{name} was {catalogue.as_text(before[name])} and is "
            f"{catalogue.as_text(value)}"
            for name, value in self.training().items()
            if name in before and before[name] != value
        ]

    def training(self):
        """The values that decide what training computes, by flag name."""
        left_out = _UNSEEN | self._afterwards()
        return {
            name: value
            for name, (value, _) in self.settings.items()
            if name not in left_out
        }

    def _afterwards(self):
        if self["train_mode"][0] != "pretrain":
            return _AFTERWARDS - {"labels_per_class"}
        return _AFTERWARDS

    def same_as(self, before):
        """Whether a run with the values `before` did what this one would."""
        return not self.differences(before) and all(
            before.get(name) == value
            for name, (value, _) in self.settings.items()
            if name in self._afterwards()
        )

    def lines(self):
        """Every value as text: those of this run first, then the rest."""
        rows = [
            (name, catalogue.as_text(value), origin)
            for name, (value, origin) in self.settings.items()
            if origin in ("command line", "checkpoint", "recipe")
        ]
        name_width, value_width = (
            max((len(row[column]) for row in rows), default=0)
            for column in (0, 1)
        )
        return [
            f"recipe: {self.recipe.name} ({self.recipe.source})",
            *(
                f"  {name:{name_width}}  {value:{value_width}}  {origin}"
                for name, value, origin in rows
            ),
            *self._paragraph("flagfile"),
            *self._paragraph("default"),
            *(f"note: {note}" for note in self.notes),
        ]

    def _paragraph(self, origin):
        listed = [
            f"{name}={catalogue.as_text(value)}"
            for name, (value, from_) in self.settings.items()
            if from_ == origin
        ]
        return textwrap.wrap(
            f"{origin}: {', '.join(listed)}" if listed else "",
            _WIDTH,
            subsequent_indent="  ",
            break_on_hyphens=False,
            break_long_words=False,
        )


def resolve(
    given,
    *,
    image_size=None,
    num_examples=None,
    smallest_class=None,
    checkpoint=None,
):
    """Fills in the flags that were not given, from the data set's recipe.

    Exits with code 2, as `parse` does, if the result does not fit together.

    Args:
        given: what `parse` returned.
        image_size: int, height and width of the data's images in pixels, or
            what is typical of them; None if not known.
        num_examples: int, number of training images; None if not known.
        smallest_class: int, labelled training images of the rarest class;
            None if not known.
        checkpoint: flag name -> value, what the weights of --checkpoint
            decide; None without one.

    Returns:
        `Resolved`; the flags themselves hold the same values from here on.
    """
    checkpoint = checkpoint or {}
    recipe, filled = recipes.settings(
        catalogue.values(),
        given,
        image_size=image_size,
        num_examples=num_examples,
        smallest_class=smallest_class,
        checkpoint=checkpoint,
    )
    definitions = catalogue.definitions()
    for name, value in filled.items():
        flag = definitions[name]
        flag.value = flag.parser.parse(value)
    values = catalogue.values()
    found = [
        *_unlike_checkpoint(values, checkpoint),
        *rules.problems(values, given),
        *_too_few(values, num_examples, smallest_class),
    ]
    if found:
        command_line.refuse(*found)
    return Resolved(
        recipe,
        {
            name: (value, _origin(name, given, checkpoint, filled))
            for name, value in values.items()
        },
        rules.warnings(values) + without_effect.notes(values),
    )


def check_replicas(num_replicas):
    """Exits with code 2 if so many replicas cannot share the batch."""
    found = list(rules.replica_problems(catalogue.values(), num_replicas))
    if found:
        command_line.refuse(*found)


def snapshot(path):
    """Writes the flags' values as a file for `--flagfile`, or nothing at all.

    Values without effect beside the others are left out, so that reading the
    file back meets no contradiction. So are those that read back would do
    something else than go on with the run.
    """
    values = catalogue.values()
    silenced = rules.silenced(values)
    lines = ["# Every setting of this run, for --flagfile."]
    for title, group in catalogue.concerns():
        lines += ["", f"# {title}"]
        lines += [
            flag.serialize()
            for flag in group
            if flag.value is not None
            and flag.name not in silenced
            and flag.name not in _NOT_KEPT
        ]
    partial = f"{path}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(partial, path)


def _origin(name, given, checkpoint, filled):
    if name in given:
        return given[name]
    if name in checkpoint:
        return "checkpoint"
    return "recipe" if name in filled else "default"


def _unlike_checkpoint(values, checkpoint):
    """Values that the user gave and the checkpoint contradicts."""
    for name, value in checkpoint.items():
        if values[name] != value:
            yield (
                f"flag --{name}={catalogue.as_text(values[name])}: must be "
                f"{catalogue.as_text(value)}, as in --checkpoint"
            )


def _too_few(values, num_examples, smallest_class):
    """What the data cannot give, one message each."""
    batch, warmup = values["train_batch_size"], values["warmup_epochs"]
    steps, sizes = values["train_steps"], values["labels_per_class"]
    if num_examples and batch > num_examples:
        yield (
            f"flag --train_batch_size={batch}: must be at most {num_examples}, "
            "the number of training images"
        )
    if num_examples and steps and warmup * num_examples // batch >= steps:
        yield (
            f"flag --warmup_epochs={warmup:g}: must be less than "
            f"--train_steps={steps}, which are {steps * batch / num_examples:g}"
            " epochs"
        )
    epochs = values["train_epochs"]
    if num_examples and steps:
        epochs = steps * batch / num_examples
    if num_examples and values["eval_every"] > epochs:
        yield (
            f"flag --eval_every={values['eval_every']}: must be at most "
            f"{epochs:.4g}, the epochs of the run"
        )
    if smallest_class is not None and max(sizes, default=0) > smallest_class:
        yield (
            f"flag --labels_per_class={catalogue.as_text(sizes)}: must be at "
            f"most {smallest_class}, the images of the smallest class"
        )
