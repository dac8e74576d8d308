"""What flags hand to the library fits the library's signatures."""

import importlib
import inspect
import pathlib
import re

import pytest

from simclr_keras.flags import augmentation
from simclr_keras.flags import catalogue
from simclr_keras.flags import data
from simclr_keras.flags import distillation
from simclr_keras.flags import evaluation
from simclr_keras.flags import export
from simclr_keras.flags import finetuning
from simclr_keras.flags import model
from simclr_keras.flags import optimization

# arguments from flags, the callable, what train.py adds, and the defaults
# that differ for a reason: flags know no data set, functions do not either.
_BINDINGS = [
    (model.resnet, "resnet:resnet", (), {"stem", "seed"}),
    (model.projection_head, "heads:projection_head", ("features",), {"seed"}),
    (
        model.simclr,
        "simclr:SimCLR",
        ("encoder", "projection_head", "augmenter", "num_classes"),
        set(),
    ),
    (augmentation.augmenter, "augment:augmenter", (), set()),
    (
        optimization.plan,
        "schedules:plan",
        ("num_examples",),
        {"warmup_epochs"},
    ),
    (
        optimization.scaled_learning_rate,
        "schedules:scaled_learning_rate",
        (),
        set(),
    ),
    (
        optimization.optimizer,
        "optimizers:optimizer",
        ("learning_rate",),
        set(),
    ),
    (data.source, "data:open_source", (), set()),
    (
        augmentation.pipeline,
        "data.pipelines:pretraining",
        ("split", "first_step", "num_steps"),
        set(),
    ),
    (evaluation.pipeline, "data.pipelines:evaluation", ("split",), set()),
    (
        evaluation.compare,
        "evaluation.compare:run_with_probe",
        ("encoder", "baselines", "train", "test"),
        {"labels_per_class"},
    ),
    (
        distillation.distiller,
        "distillation:Distiller",
        ("teacher", "student"),
        set(),
    ),
    (
        finetuning.fine_tuned,
        "evaluation.finetune:fine_tuned",
        ("encoder", "split", "num_classes"),
        # Flags know the paper's pretraining; a recipe sets these.
        {
            *("optimizer", "learning_rate", "weight_decay", "warmup_epochs"),
            *("train_batch_size", "train_epochs"),
        },
    ),
    (
        export.export_saved_model,
        "export:export_saved_model",
        ("encoder", "path", "classifier"),
        set(),
    ),
]


@pytest.mark.parametrize(
    ("arguments", "target", "added", "different"),
    _BINDINGS,
    ids=[target for _, target, _, _ in _BINDINGS],
)
def test_arguments_bind_and_defaults_agree(
    parse, arguments, target, added, different
):
    parse()
    module, name = target.split(":")
    callee = getattr(importlib.import_module(f"simclr_keras.{module}"), name)
    signature = inspect.signature(callee)
    signature.bind(**arguments(), **dict.fromkeys(added))
    for argument, value in arguments().items():
        default = signature.parameters[argument].default
        if default is not inspect.Parameter.empty and argument not in different:
            value = tuple(value) if isinstance(value, list) else value
            assert value == default, argument


def test_programs_use_what_the_flags_return():
    root = pathlib.Path(__file__).parents[2]
    jobs = (root / "simclr_keras" / "jobs").glob("*.py")
    text = "".join(path.read_text() for path in (root / "train.py", *jobs))
    modules = "|".join(
        concern.__name__.split(".")[-1] for concern in catalogue.CONCERNS
    )
    used = re.findall(rf"\b({modules}|device)_flags\.(\w+)\(", text)
    used = {name for _, name in used}
    # What one concern asks another for.
    used |= {"is_path", "image_size", "seed", "train_batch_size"}
    used |= {"geometry", "labels_per_class", "training"}
    defined = {
        name
        for concern in catalogue.CONCERNS
        for name, function in inspect.getmembers(concern, inspect.isfunction)
        if function.__module__ == concern.__name__ and name[0] != "_"
    }
    assert defined <= used
