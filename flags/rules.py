"""What flags forbid each other, and what looks like a mistake.

All functions take `values`, name -> value of every flag, and `given`, name ->
"command line" or "flagfile" for those that the user set.
"""

import os

from simclr_keras.flags import catalogue
from simclr_keras.flags import data

# flags, the flag that silences them, the values with which it does
_SILENCED = (
    (
        ("data_dir", "download"),
        "dataset",
        lambda name: name == "digits" or data.is_path(name),
    ),
    (("train_epochs",), "train_steps", lambda steps: steps > 0),
    (("checkpoint_epochs",), "checkpoint_steps", lambda steps: steps > 0),
    (("num_proj_layers",), "proj_head_mode", lambda m: m != "nonlinear"),
    (("proj_out_dim",), "proj_head_mode", lambda mode: mode == "none"),
    (("momentum",), "optimizer", lambda name: name in ("adam", "adamw")),
    (
        ("tpu_name", "tpu_zone", "gcp_project", "master"),
        "strategy",
        lambda name: name != "tpu",
    ),
    (("tpu_name",), "master", bool),
    (("devices",), "strategy", lambda name: name in ("one", "tpu")),
    (
        ("evaluations", "labels_per_class", "label_draws"),
        "mode",
        lambda mode: mode == "train",
    ),
    (("eval_every",), "mode", lambda mode: mode == "eval"),
    (("eval_patience",), "mode", lambda mode: mode != "eval"),
    (
        ("labels_per_class", "label_draws"),
        "evaluations",
        lambda names: "linear_probe" not in names,
    ),
    (
        ("knn_k", "knn_temperature"),
        "evaluations",
        lambda names: "knn" not in names,
    ),
    (("label_draws",), "labels_per_class", lambda sizes: not sizes),
    (("variable_schema",), "checkpoint", lambda path: path is None),
    (
        ("zero_init_logits_layer", "variable_schema", "label_fraction"),
        "train_mode",
        lambda mode: mode == "pretrain",
    ),
    (
        (
            *("color_jitter_strength", "use_blur", "brightness", "blur_sigma"),
            *("solarize", "temperature", "hidden_norm", "micro_batch_size"),
            *("lineareval_while_pretraining", "evaluations", "knn_k"),
            *("knn_temperature", "init_from", "lr_range_test"),
        ),
        "train_mode",
        lambda mode: mode != "pretrain",
    ),
    (
        (
            *("fine_tune_after_block", "zero_init_logits_layer"),
            *("variable_schema", "label_draws", "proj_head_mode"),
            *("num_proj_layers", "proj_out_dim"),
        ),
        "train_mode",
        lambda mode: mode == "distill",
    ),
    (
        ("distillation_temperature", "distillation_alpha"),
        "train_mode",
        lambda mode: mode != "distill",
    ),
    (("ft_proj_selector",), "mode", lambda mode: mode == "eval"),
    (
        ("keep_hub_module_max", "serving_precision"),
        "export",
        lambda export: not export,
    ),
)


# Numbers of labels say what is trained on, not what is measured.
_IN_PRETRAINING = (
    ("labels_per_class", "mode"),
    ("label_draws", "labels_per_class"),
)


def silenced(values):
    """Flags without effect -> the flag whose value takes it from them."""
    if values["use_tpu"]:
        values = values | {"strategy": "tpu"}
    train_mode = values["train_mode"]
    excepted = () if train_mode == "pretrain" else _IN_PRETRAINING
    without_labels = ()
    if train_mode == "distill" and values["distillation_alpha"] == 1:
        without_labels = ("label_fraction", "labels_per_class")
    return dict.fromkeys(without_labels, "distillation_alpha") | {
        name: cause
        for names, cause, silences in _SILENCED
        if silences(values[cause])
        for name in names
        if (name, cause) not in excepted
    }


def problems(values, given):
    """One message per contradiction or missing path, in no special order."""
    return [
        *_contradictions(values, given),
        *_missing_paths(values, given),
        *_out_of_order(values),
        *_checkpoint_problems(values),
        *_label_problems(values),
    ]


def replica_problems(values, num_replicas):
    """One message per size that so many replicas cannot share."""
    batch, size = values["train_batch_size"], values["micro_batch_size"]
    share, rest = divmod(batch, num_replicas)
    if rest:
        sizes = [n * num_replicas for n in (share, share + 1) if n]
        # NT-Xent needs two images.
        nearest = " and ".join(str(n) for n in sizes if n > 1)
        yield (
            f"flag --train_batch_size={batch}: must be a multiple of "
            f"{num_replicas}, the number of replicas; nearest: {nearest}"
        )
    elif size and share % size:
        yield (
            f"flag --micro_batch_size={size}: must divide {share}, the share "
            f"of each of {num_replicas} replicas of --train_batch_size={batch}"
        )


def warnings(values):
    """One message per combination that runs but is seldom meant."""
    size, stem = values["image_size"], values["stem"]
    messages = []
    if values["sk_ratio"] > 0 and values["resnet_depth"] in (18, 34):
        messages.append(
            f"--sk_ratio={values['sk_ratio']:g} with --resnet_depth="
            f"{values['resnet_depth']}: selective kernels need bottleneck "
            "blocks (depth 50 or more); only stem and shortcuts change"
        )
    if stem == "imagenet" and size <= 32:
        messages.append(
            f"--stem=imagenet with --image_size={size}: this stem leaves "
            f"{max(1, size // 4)} pixels of {size}; --stem=cifar keeps all"
        )
    if stem == "cifar" and size > 96:
        messages.append(
            f"--stem=cifar with --image_size={size}: 16 times the work and "
            "memory of --stem=imagenet"
        )
    if values["use_blur"] and size <= 32:
        messages.append(
            f"--use_blur with --image_size={size}: the paper leaves blur out "
            "at this size"
        )
    return messages


def _contradictions(values, given):
    for name, cause in silenced(values).items():
        # A command line may overrule what its flagfile says.
        overruled = (given.get(name), given.get(cause)) == (
            "flagfile",
            "command line",
        )
        if name in given and not overruled:
            yield (
                f"flag {_assigned(values, name)}: has no effect with "
                f"{_assigned(values, cause)}"
            )


def _missing_paths(values, given):
    dataset = values["dataset"]
    if data.is_path(dataset) and not os.path.exists(dataset):
        yield f"flag --dataset={dataset}: no such file or folder"
    for name in ("checkpoint", "data_dir", "init_from"):
        made = name == "data_dir" and values["download"]
        if name in given and not made and not _exists(values[name]):
            yield f"flag --{name}={values[name]}: no such file or folder"
    for name in ("model_dir", "data_dir"):
        if os.path.isfile(values[name] or ""):
            yield f"flag --{name}={values[name]}: is a file, not a folder"


def _out_of_order(values):
    if values["use_tpu"] and values["strategy"] not in ("auto", "tpu"):
        yield (
            "flag --use_tpu=true: must be false with "
            f"{_assigned(values, 'strategy')}"
        )
    block = values["fine_tune_after_block"]
    if block > -1 and values["train_mode"] == "pretrain":
        yield (
            f"flag --fine_tune_after_block={block}: must be -1 with "
            "--train_mode=pretrain, which trains every block"
        )
    layers = {"none": 0, "linear": 1}.get(
        values["proj_head_mode"], values["num_proj_layers"]
    )
    # The head of a checkpoint is known when it has been read.
    if values["ft_proj_selector"] > layers and values["checkpoint"] is None:
        yield (
            f"flag --ft_proj_selector={values['ft_proj_selector']}: must be "
            f"at most {layers}, the layers of the projection head"
        )
    batch, size = values["train_batch_size"], values["micro_batch_size"]
    if size and batch % size:
        yield (
            f"flag --micro_batch_size={size}: must divide "
            f"--train_batch_size={batch}"
        )
    warmup, epochs = values["warmup_epochs"], values["train_epochs"]
    if not values["train_steps"] and warmup >= epochs:
        yield (
            f"flag --warmup_epochs={warmup:g}: must be less than "
            f"--train_epochs={epochs}"
        )


def _checkpoint_problems(values):
    train_mode, evaluates = values["train_mode"], values["mode"] == "eval"
    pretrains, checkpoint = train_mode == "pretrain", values["checkpoint"]
    if checkpoint and pretrains and not evaluates:
        yield (
            f"flag {_assigned(values, 'checkpoint')}: is for --train_mode="
            "finetune or distill and --mode=eval; --init_from starts "
            "pretraining from other weights"
        )
    if evaluates and not pretrains:
        yield (
            "flag --mode=eval: must be train or train_then_eval with "
            f"--train_mode={train_mode}"
        )
    if train_mode == "distill" and checkpoint is None:
        yield (
            "flag --train_mode=distill: needs --checkpoint, the classifier "
            "that teaches, such as the --model_dir of --train_mode=finetune"
        )
    frozen = values["fine_tune_after_block"] > -1
    if train_mode == "finetune" and frozen and checkpoint is None:
        yield (
            f"flag {_assigned(values, 'fine_tune_after_block')}: must be -1 "
            "without --checkpoint, since what is frozen would stay untrained"
        )


def _label_problems(values):
    """Of the numbers of labels to train on."""
    if values["train_mode"] == "pretrain":
        return
    sizes = values["labels_per_class"]
    if len(sizes) > 1:
        yield (
            f"flag {_assigned(values, 'labels_per_class')}: must be one number "
            f"with --train_mode={values['train_mode']}"
        )
    if sizes and values["label_fraction"] < 1:
        yield (
            f"flag {_assigned(values, 'label_fraction')}: must be left out "
            f"with {_assigned(values, 'labels_per_class')}"
        )


def _assigned(values, name):
    return f"--{name}={catalogue.as_text(values[name])}"


def _exists(path):
    # TensorFlow names a checkpoint by what its files' names begin with.
    return "://" in path or any(map(os.path.exists, (path, f"{path}.index")))
