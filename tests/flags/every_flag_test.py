"""One table row per flag: what it takes, what it refuses, what it changes."""

import inspect
import itertools

import pytest

from simclr_keras.flags import catalogue
from simclr_keras.flags import without_effect

_WORDS = ("abc", "", "nan", "1,2")
_COUNTS = (*_WORDS, "1.5", "-1", "1e3")
_SHARES = (*_WORDS, "-0.1", "inf")
_SWITCH = {"true": True, "False": False, "1": True, "0": False}
_NO_SWITCH = ("maybe", "2", "", "none")

# flag: ({text: value}, texts that are refused). The first text is not the
# default; it must change what some function of the flag's module returns.
ROWS = {
    "dataset": ({"cifar10": "cifar10", "a/1pct": "a/1pct"}, ("", " ")),
    "data_dir": ({"/": "/"}, ("", "/no/such/place")),
    "download": (_SWITCH, _NO_SWITCH),
    "train_split": ({"train[:90%]": "train[:90%]"}, ("",)),
    "eval_split": ({"test": "test"}, ("",)),
    "max_skipped": ({"0.5": 0.5, "0": 0.0, "1": 1.0}, (*_SHARES, "1.1")),
    "cache_dataset": (_SWITCH, _NO_SWITCH),
    "image_size": ({"32": 32, "8": 8}, (*_COUNTS, "7", "0")),
    "mode": ({"train": "train", "eval": "eval"}, ("", "Train", "test")),
    "model_dir": ({"runs/a": "runs/a"}, ("", __file__)),
    "overwrite": (_SWITCH, _NO_SWITCH),
    "init_from": ({"/": "/"}, ("", "/no/such/run")),
    "seed": ({"7": 7, "0": 0}, (*_COUNTS, str(2**31))),
    "checkpoint_epochs": ({"3": 3}, (*_COUNTS, "0")),
    "checkpoint_steps": ({"50": 50, "0": 0}, _COUNTS),
    "keep_checkpoint_max": ({"2": 2}, (*_COUNTS, "0")),
    "train_summary_steps": ({"0": 0, "10": 10}, _COUNTS),
    "color_jitter_strength": (
        {"0.5": 0.5, "0": 0.0, "1.25": 1.25},
        (*_SHARES, "1.26"),
    ),
    "use_blur": ({"false": False} | _SWITCH, _NO_SWITCH),
    "crop": ({"torchvision": "torchvision", "none": "none"}, ("", "x")),
    "brightness": ({"additive": "additive"}, ("", "simclrv1")),
    "blur_sigma": ({"view": "view", "image": "image"}, ("", "1")),
    "flip_probability": ({"0": 0.0, "1": 1.0}, (*_SHARES, "1.1")),
    "grayscale_probability": ({"0": 0.0, "1": 1.0}, (*_SHARES, "1.1")),
    "solarize": ({"0.2": 0.2, "1": 1.0}, (*_SHARES, "1.1")),
    "resnet_depth": (
        {str(depth): depth for depth in (18, 34, 50, 101, 152, 200)},
        (*_COUNTS, "20"),
    ),
    "width_multiplier": ({"0.25": 0.25, "2": 2.0}, (*_SHARES, "0", "-1")),
    "stem": ({"cifar": "cifar", "imagenet": "imagenet"}, ("", "auto")),
    "sk_ratio": ({"0.0625": 0.0625, "0": 0.0}, (*_SHARES, "1.5")),
    "se_ratio": ({"0.0625": 0.0625, "0": 0.0}, (*_SHARES, "1.5")),
    "global_bn": ({"false": False} | _SWITCH, _NO_SWITCH),
    "batch_norm_decay": ({"0.99": 0.99, "0": 0.0}, (*_SHARES, "1")),
    "proj_head_mode": (
        {"linear": "linear", "none": "none", "nonlinear": "nonlinear"},
        ("", "mlp"),
    ),
    "num_proj_layers": ({"2": 2}, (*_COUNTS, "0")),
    "proj_out_dim": ({"64": 64}, (*_COUNTS, "0")),
    "ft_proj_selector": ({"1": 1, "-1": -1}, (*_WORDS, "0.5", "-2", "4")),
    "temperature": ({"0.5": 0.5, "1e-2": 0.01}, (*_SHARES, "0", "-1")),
    "hidden_norm": ({"false": False} | _SWITCH, _NO_SWITCH),
    "train_batch_size": ({"64": 64, "2": 2}, (*_COUNTS, "0", "1")),
    "micro_batch_size": ({"64": 64, "0": 0}, (*_COUNTS, "100", "512")),
    "train_epochs": ({"30": 30, "1": 1}, (*_COUNTS, "0")),
    "train_steps": ({"9": 9, "0": 0}, _COUNTS),
    "optimizer": (
        {"adamw": "adamw", "adam": "adam", "momentum": "momentum"},
        ("", "sgd", "LARS"),
    ),
    "learning_rate": ({"1": 1.0, "1e-4": 1e-4}, (*_SHARES, "0", "-1")),
    "learning_rate_scaling": ({"sqrt": "sqrt"}, ("", "square")),
    "lr_range_test": (_SWITCH, _NO_SWITCH),
    "warmup_epochs": ({"2.5": 2.5, "0": 0.0}, (*_SHARES, "-1", "80")),
    "weight_decay": ({"1e-4": 1e-4, "0": 0.0}, (*_SHARES, "-1")),
    "momentum": ({"0.5": 0.5, "0": 0.0}, (*_SHARES, "1")),
    "lineareval_while_pretraining": ({"false": False} | _SWITCH, _NO_SWITCH),
    "eval_every": ({"5": 5, "0": 0}, _COUNTS),
    "eval_patience": ({"5": 5}, (*_COUNTS, "0")),
    "evaluations": (
        {"knn": ["knn"], "knn, linear_probe": ["knn", "linear_probe"]},
        ("probe", "knn,knn", "knn,", ""),
    ),
    "labels_per_class": (
        {"1": [1], "": [], "1,20": [1, 20]},
        ("0", "5,5", "a", "5;10", "1.5", "-1"),
    ),
    "label_draws": ({"2": 2}, (*_COUNTS, "0")),
    "knn_k": ({"1": 1, "20": 20}, (*_COUNTS, "0")),
    "knn_temperature": ({"0.07": 0.07}, (*_SHARES, "0")),
    "eval_batch_size": ({"64": 64}, (*_COUNTS, "0")),
    "eval_steps": ({"3": 3, "0": 0}, _COUNTS),
    "eval_name": ({"late": "late"}, ("",)),
    "train_mode": (
        {"finetune": "finetune", "pretrain": "pretrain"},
        ("", "supervised", "distill"),
    ),
    "distillation_temperature": ({"0.1": 0.1, "4": 4.0}, (*_SHARES, "0")),
    "distillation_alpha": ({"0.5": 0.5, "1": 1.0}, (*_SHARES, "0", "1.1")),
    "checkpoint": ({"/": "/"}, ("", "/no/such/file")),
    "label_fraction": ({"0.1": 0.1, "1": 1.0}, (*_SHARES, "0", "1.1")),
    "fine_tune_after_block": (
        {"2": 2, "-1": -1, "0": 0, "4": 4},
        (*_WORDS, "1.5", "-2", "5"),
    ),
    "zero_init_logits_layer": (_SWITCH, _NO_SWITCH),
    "variable_schema": ({"(?!head)": "(?!head)"}, ("", "(")),
    "export": ({"false": False} | _SWITCH, _NO_SWITCH),
    "keep_hub_module_max": ({"0": 0, "3": 3}, _COUNTS),
    "serving_precision": (
        {"bfloat16": "bfloat16", "float32": "float32"},
        ("", "float16", "int8"),
    ),
    "precision": (
        {"bfloat16": "bfloat16", "float16": "float16", "float32": "float32"},
        ("", "half", "bf16"),
    ),
    "strategy": (
        {
            name: name
            for name in ("tpu", "mirrored", "multi_worker", "one", "auto")
        },
        ("", "gpu"),
    ),
    "devices": ({"2": 2, "0": 0}, _COUNTS),
    "use_tpu": (_SWITCH, _NO_SWITCH),
    "tpu_name": ({"tpu-1": "tpu-1"}, ("",)),
    "tpu_zone": ({"europe-west4-a": "europe-west4-a"}, ("",)),
    "gcp_project": ({"project": "project"}, ("",)),
    "master": ({"grpc://10.0.0.1:8470": "grpc://10.0.0.1:8470"}, ("",)),
}
# Flags that have an effect beside these only.
_BESIDE = {
    "eval_patience": ["--mode=eval"],
    "data_dir": ["--dataset=cifar10"],
    "download": ["--dataset=cifar10"],
    "tpu_name": ["--strategy=tpu"],
    "tpu_zone": ["--use_tpu"],
    "gcp_project": ["--strategy=tpu"],
    "master": ["--strategy=tpu"],
    "checkpoint": ["--train_mode=finetune"],
    "label_fraction": ["--train_mode=finetune"],
    **dict.fromkeys(
        ("distillation_temperature", "distillation_alpha"),
        ["--train_mode=distill", "--checkpoint=/"],
    ),
    **dict.fromkeys(
        ("fine_tune_after_block", "zero_init_logits_layer", "variable_schema"),
        ["--train_mode=finetune", "--checkpoint=/"],
    ),
}
_GOOD = [
    (name, text, value)
    for name, (good, _) in ROWS.items()
    for text, value in good.items()
]
_BAD = [(name, text) for name, (_, bad) in ROWS.items() for text in bad]


def test_every_flag_has_a_row_in_this_table():
    assert set(ROWS) == set(catalogue.definitions())


@pytest.mark.parametrize(("name", "text", "value"), _GOOD)
def test_good_value(parse, name, text, value):
    given = parse(f"--{name}={text}", *_BESIDE.get(name, []))
    got = catalogue.values()[name]
    assert (got, type(got)) == (value, type(value))
    assert given[name] == "command line"


@pytest.mark.parametrize(("name", "text"), _BAD)
def test_bad_value_names_flag_rule_and_what_was_received(refused, name, text):
    for problem in refused(f"--{name}={text}", *_BESIDE.get(name, [])):
        program, received, rule = problem.split(": ", 2)
        assert received.startswith(f"flag --{name}=")
        assert received.removeprefix(f"flag --{name}=").lower() == text.lower()
        assert len(rule.split()) >= 3


@pytest.mark.parametrize("name", ROWS)
def test_misspelt_name_suggests_the_flag(refused, name):
    misspelt = name[1] + name[0] + name[2:]
    [problem] = refused(f"--{misspelt}=1")
    assert misspelt in problem
    suggestions = problem.partition("Did you mean: ")[2].strip(" ?")
    assert name in suggestions.split(", ")


@pytest.mark.parametrize("name", ROWS)
def test_flag_without_a_value(refused, parse, name):
    if catalogue.definitions()[name].boolean:
        if not catalogue.values()[name]:
            return
        parse(f"--no{name}", *_BESIDE.get(name, []))
        assert catalogue.values()[name] is False
    else:
        [problem] = refused(f"--{name}")
        assert problem.endswith(f"Missing value for flag --{name}")


@pytest.mark.parametrize(
    "name", [name for name in ROWS if name not in without_effect.FLAGS]
)
def test_flag_changes_what_a_callable_is_given(parse, name):
    beside = _BESIDE.get(name, [])
    parse(*beside)
    before = _arguments()
    parse(f"--{name}={next(iter(ROWS[name][0]))}", *beside)
    assert _arguments() != before


def test_help_is_a_sentence_and_no_two_are_equal():
    helps = [flag.help for flag in catalogue.definitions().values()]
    for first, second in itertools.combinations(helps, 2):
        assert first != second
    for text in helps:
        assert text[0].isupper() or text.split(":")[0].islower()
        assert text.endswith(".")
        assert "  " not in text


def _arguments():
    """What all functions of the flags' modules return."""
    returned = {}
    for concern in catalogue.CONCERNS:
        for name, function in vars(concern).items():
            public = inspect.isfunction(function) and name[0] != "_"
            if not public or function.__module__ != concern.__name__:
                continue
            parameters = inspect.signature(function).parameters
            arguments = {"steps_per_epoch": 7, "dataset": "digits"}
            returned[concern.__name__, name] = function(
                **{name: arguments[name] for name in parameters}
            )
    return returned
