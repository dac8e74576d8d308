"""Optimization: batch, length of training, optimizer, learning rate."""

from simclr_keras.flags import definitions

_TRAIN_BATCH_SIZE = definitions.integer(
    "train_batch_size",
    512,
    "Images per step over all replicas; each brings two views and is a "
    "negative for all others. Paper: 256 to 8192; larger is better for "
    "short training.",
    minimum=2,
)
_MICRO_BATCH_SIZE = definitions.integer(
    "micro_batch_size",
    0,
    "Images per replica that are encoded at a time, for batches whose "
    "activations do not fit in memory; 0 for all at once. The contrastive "
    "loss and its gradient stay those of the whole batch, for one more "
    "forward pass; the encoder's batch norm takes statistics from each "
    "micro-batch. Must divide the batch of a replica.",
    minimum=0,
)
_TRAIN_EPOCHS = definitions.integer(
    "train_epochs",
    100,
    "Times every image is seen. Paper: 100 to 1000.",
    minimum=1,
)
_TRAIN_STEPS = definitions.integer(
    "train_steps",
    0,
    "Length of training in steps; 0 counts in epochs instead.",
    minimum=0,
)
_OPTIMIZER = definitions.choice(
    "optimizer",
    "lars",
    ["lars", "momentum", "adam", "adamw"],
    "lars: layer-wise scaled momentum, for large batches, the paper's. "
    "momentum: Nesterov SGD. adam and adamw are one optimizer here, with "
    "weight decay apart from the gradient.",
)
_LEARNING_RATE = definitions.number(
    "learning_rate",
    0.3,
    "Peak learning rate before --learning_rate_scaling. Paper: 0.3 linear, "
    "or 0.075 sqrt, for ImageNet; 0.5 to 1.5 linear for CIFAR-10.",
    above=0,
)
_LEARNING_RATE_SCALING = definitions.choice(
    "learning_rate_scaling",
    "linear",
    ["linear", "sqrt"],
    "linear: learning rate times batch size / 256. sqrt: times the root of "
    "the batch size, the better rule for small batches.",
)
_LR_RANGE_TEST = definitions.switch(
    "lr_range_test",
    False,
    "Instead of training, try growing learning rates for some 200 steps, "
    "plot the loss against them in --model_dir, and print the largest that "
    "was stable and what to set --learning_rate to.",
)
_WARMUP_EPOCHS = definitions.number(
    "warmup_epochs",
    10.0,
    "Epochs in which the learning rate rises from 0 to its peak; then it "
    "falls to 0 on half a cosine. Paper: 10.",
    minimum=0,
)
_WEIGHT_DECAY = definitions.number(
    "weight_decay",
    1e-6,
    "Share of each kernel's weights added to its gradient; biases and batch "
    "norm have none. SimCLR: 1e-6, SimCLRv2: 1e-4.",
    minimum=0,
)
_MOMENTUM = definitions.number(
    "momentum",
    0.9,
    "Share of the last update that lars and momentum carry on. Paper: 0.9.",
    minimum=0,
    below=1,
)


def micro_batch_size():
    """Images per replica that are encoded at a time; None for all."""
    return _MICRO_BATCH_SIZE.value or None


def train_batch_size():
    """Images per step over all replicas."""
    return _TRAIN_BATCH_SIZE.value


def plan():
    """Arguments of `schedules.plan` besides `num_examples`."""
    return {
        "train_batch_size": _TRAIN_BATCH_SIZE.value,
        "train_epochs": _TRAIN_EPOCHS.value,
        "train_steps": _TRAIN_STEPS.value,
        "warmup_epochs": _WARMUP_EPOCHS.value,
    }


def scaled_learning_rate():
    """Arguments of `schedules.scaled_learning_rate`."""
    return {
        "learning_rate": _LEARNING_RATE.value,
        "train_batch_size": _TRAIN_BATCH_SIZE.value,
        "scaling": _LEARNING_RATE_SCALING.value,
    }


def lr_range_test():
    """Whether to look for a learning rate instead of training."""
    return _LR_RANGE_TEST.value


def optimizer():
    """Arguments of `optimizers.optimizer` besides `learning_rate`."""
    return {
        "name": _OPTIMIZER.value,
        "momentum": _MOMENTUM.value,
        "weight_decay": _WEIGHT_DECAY.value,
    }


def training():
    """All of these, as `evaluation.finetune.fine_tuned` takes them."""
    chosen = optimizer()
    return {
        "optimizer": chosen.pop("name"),
        **chosen,
        "learning_rate": _LEARNING_RATE.value,
        "learning_rate_scaling": _LEARNING_RATE_SCALING.value,
        **plan(),
    }
