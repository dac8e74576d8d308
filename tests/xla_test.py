"""What a TPU would be asked to run: no operation that it cannot.

There is no TPU here; the list of operations of the traced training step is
held against those that XLA has a kernel for, and against those that XLA takes
on a CPU although their shapes depend on values.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

import simclr_keras
from simclr_keras import augment

# Placeholders, control flow and calls, which XLA treats itself.
NO_KERNEL_NEEDED = {
    "Const",
    "Identity",
    "If",
    "NoOp",
    "PartitionedCall",
    "Placeholder",
    "ReadVariableOp",
    "StatefulPartitionedCall",
    "StatelessIf",
    "StatelessWhile",
    "While",
    "_Arg",
    "_Retval",
}
# Shapes that depend on values, the host's affair, or no TPU kernel.
FORBIDDEN = {
    "AdjustContrastv2",
    "AsString",
    "CropAndResize",
    "EagerPyFunc",
    "ImageProjectiveTransformV3",
    "Print",
    "PrintV2",
    "PyFunc",
    "RandomShuffle",
    "ResizeBicubic",
    "ScaleAndTranslate",
    "StringFormat",
    "Unique",
    "UniqueV2",
    "Where",
}


def operations(function):
    graph = function.graph.as_graph_def()
    nodes = [*graph.node]
    for called in graph.library.function:
        nodes += called.node_def
    own = {called.signature.name for called in graph.library.function}
    return {node.op for node in nodes} - own


def unfit(function):
    """Operations of a concrete function that a TPU cannot run."""
    found = operations(function)
    without = {
        op
        for op in found - NO_KERNEL_NEEDED
        if not any(
            kernel.device_type == "XLA_GPU_JIT"
            for kernel in kernels.get_registered_kernels_for_op(op).kernel
        )
    }
    return sorted(without | (found & FORBIDDEN))


@pytest.fixture
def as_on_an_accelerator(monkeypatch):
    """The augmentation in one piece, not in the chunks that suit a CPU."""
    monkeypatch.setattr(augment, "_has_accelerator", lambda: True)


def model(size, stem, jit_compile=False, **arguments):
    encoder = simclr_keras.resnet(
        depth=18, width=0.125, stem=stem, image_size=size
    )
    made = simclr_keras.SimCLR(
        encoder,
        simclr_keras.projection_head(encoder.output_shape[-1], out_dim=8),
        simclr_keras.augmenter(size, solarize=0.2),
        num_classes=10,
        **arguments,
    )
    schedule = simclr_keras.WarmupCosine(0.1, 10, 100)
    made.compile(simclr_keras.LARS(schedule), jit_compile=jit_compile)
    return made


@pytest.mark.usefixtures("as_on_an_accelerator")
class TestTrainStep:
    @pytest.mark.parametrize(
        ("size", "stem", "shape", "dtype"),
        [
            (32, "cifar", [4, 32, 32, 3], tf.uint8),
            # Images of any size are cropped on the host.
            pytest.param(
                *(224, "imagenet", [4, 2, 224, 224, 3], tf.float32),
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_has_only_what_a_tpu_can_run(self, size, stem, shape, dtype):
        step = tf.function(model(size, stem).train_step, autograph=False)
        data = tf.TensorSpec(shape, dtype), tf.TensorSpec([4], tf.int64)
        traced = step.get_concrete_function(data)
        assert {"Conv2D", "FusedBatchNormV3"} <= operations(traced)
        assert unfit(traced) == []

    @pytest.mark.slow
    @pytest.mark.parametrize("arguments", [{}, {"micro_batch_size": 2}])
    def test_compiles_and_computes_the_same(self, arguments):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, [4, 32, 32, 3], np.uint8)
        losses = []
        for jit_compile in (False, True):
            keras.utils.set_random_seed(0)
            made = model(32, "cifar", jit_compile, **arguments)
            losses.append(made.train_on_batch(images, np.arange(4))[0])
        assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_the_lint_finds_what_is_unfit():
    @tf.function
    def bad(x):
        tf.print(x)
        kept = tf.boolean_mask(x, x[:, 0, 0, 0] > 0)
        boxes = tf.zeros([1, 4])
        return kept, tf.image.crop_and_resize(x, boxes, [0], [2, 2])

    found = unfit(bad.get_concrete_function(tf.TensorSpec([2, 4, 4, 3])))
    assert {"CropAndResize", "PrintV2", "Where"} <= set(found)
