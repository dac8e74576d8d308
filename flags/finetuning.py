"""Fine-tuning: what is trained with labels, and from which weights."""

from simclr_keras.flags import definitions

_TRAIN_MODE = definitions.choice(
    "train_mode",
    "pretrain",
    ["pretrain", "finetune"],
    "pretrain: contrastive, without labels. finetune: with labels, from "
    "--checkpoint.",
)
_CHECKPOINT = definitions.path(
    "checkpoint",
    None,
    "Weights to start from if --model_dir holds no checkpoint of its own.",
)
_FINE_TUNE_AFTER_BLOCK = definitions.integer(
    "fine_tune_after_block",
    -1,
    "Fine-tune what comes after this block of the encoder: -1 everything, 0 "
    "all but the stem, 1 to 3 the later blocks, 4 only the classifier.",
    minimum=-1,
    maximum=4,
)
_ZERO_INIT_LOGITS_LAYER = definitions.switch(
    "zero_init_logits_layer",
    False,
    "Start the classifier of fine-tuning at zero.",
)
_VARIABLE_SCHEMA = definitions.pattern(
    "variable_schema",
    None,
    "Variables to take from --checkpoint: those whose names match.",
)
