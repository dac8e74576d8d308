"""Google's flags: their defaults, and where ours differ and why.

Facts from google-research/simclr at commit 383d414: tf2/run.py, and run.py
for the two flags that its README uses and tf2/run.py does not define.
"""

DEFAULTS = {
    "batch_norm_decay": 0.9,
    "cache_dataset": False,
    "checkpoint": None,
    "checkpoint_epochs": 1,
    "checkpoint_steps": 0,
    "color_jitter_strength": 1.0,
    "data_dir": None,
    "dataset": "imagenet2012",
    "eval_batch_size": 256,
    "eval_name": None,
    "eval_split": "validation",
    "eval_steps": 0,
    "fine_tune_after_block": -1,
    "ft_proj_selector": 0,
    "gcp_project": None,
    "global_bn": True,
    "hidden_norm": True,
    "image_size": 224,
    "keep_checkpoint_max": 5,
    "keep_hub_module_max": 1,
    "learning_rate": 0.3,
    "learning_rate_scaling": "linear",
    "lineareval_while_pretraining": True,
    "master": None,
    "mode": "train",
    "model_dir": None,
    "momentum": 0.9,
    "num_proj_layers": 3,
    "optimizer": "lars",
    "proj_head_mode": "nonlinear",
    "proj_out_dim": 128,
    "resnet_depth": 50,
    "se_ratio": 0.0,
    "sk_ratio": 0.0,
    "temperature": 0.1,
    "tpu_name": None,
    "tpu_zone": None,
    "train_batch_size": 512,
    "train_epochs": 100,
    "train_mode": "pretrain",
    "train_split": "train",
    "train_steps": 0,
    "train_summary_steps": 100,
    "use_blur": True,
    "use_tpu": True,
    "variable_schema": "?!global_step",
    "warmup_epochs": 10.0,
    "weight_decay": 1e-6,
    "width_multiplier": 1,
    "zero_init_logits_layer": False,
}

DEVIATIONS = {
    "checkpoint": "Also takes runs of this package. Only weights, whose "
    "architecture need not be given, and never a classifier; Google's code "
    "passes over variables that do not fit.",
    "checkpoint_epochs": "Only the period of checkpoints. Google's code also "
    "trains in whole periods, past the requested end: 6250 steps for 3126.",
    "color_jitter_strength": "At most 1.25; above it Google's lower bound of "
    "contrast and saturation is negative and TensorFlow stops the run.",
    "data_dir": "A data set that is not there is an error unless --download "
    "is given; Google's code starts to download it.",
    "dataset": "digits, which is part of the installation. Also takes "
    "folders, .npz and IDX files; labels are optional.",
    "eval_split": "Left to the data set, so that cifar10 needs no "
    "--eval_split=test.",
    "hidden_norm": "Same meaning; Google's help text is that of --temperature.",
    "image_size": "At 32 pixels and below, tests still resize; Google's code "
    "fails on images of another size.",
    "keep_hub_module_max": "Counts SavedModel versions, the successor of hub "
    "modules.",
    "lineareval_while_pretraining": "Off, Google's TF2 code can neither "
    "evaluate nor export; here both work, with labels or without.",
    "mode": "train_then_eval: a run measures and exports what it trained. "
    "Google's train exports nothing.",
    "model_dir": "runs/ and the data set's name, so that a first run needs "
    "no flag.",
    "optimizer": "Adds adamw. Weight decay of adam is apart from the "
    "gradient, where Google adds an L2 loss that Adam's denominator undoes.",
    "proj_head_mode": "none and linear work; in Google's TF2 code both fail.",
    "train_epochs": "Together with --train_steps above 0 it is an error; "
    "Google's code silently ignores it.",
    "train_split": "Left to the data set: unlabelled for stl10.",
    "train_steps": "Training ends at exactly this step.",
    "train_summary_steps": "From Google's TF1 code; tf2/README.md passes it "
    "to tf2/run.py, which does not know it.",
    "use_blur": "Sigma is drawn for each image; --blur_sigma=view draws one "
    "for all images of a view, as Google's code.",
    "use_tpu": "False: Google's default fails at once without a TPU.",
    "variable_schema": "From Google's TF1 code, where it is written without "
    "the parentheses that make it a regular expression; unset takes all. "
    "Scopes are called as there, layers as here.",
    "width_multiplier": "Takes fractions.",
}
