"""One training step with this package's batch norm, Keras' and PyTorch's.

    pip install torch --index-url https://download.pytorch.org/whl/cpu
    pip install -e ".[bench]"
    python benchmarks/train_step_benchmark.py --rounds=20

Each step is forward, NT-Xent, backward and SGD with momentum on the same two
random views of a batch, in one process. The contestants take turns, so that
whatever else the machine does falls on all of them. "keras" is the same
network with `keras.layers.BatchNormalization`; "torch" appears where PyTorch
is installed and is the same network again, channels last (its CUDA build
brings Triton, which crashes beside TensorFlow 2.21). bfloat16 is left out by
default on a CPU that would emulate it.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves oneDNN off on CPUs without AVX-512, where it also pays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import numpy as np
import tensorflow as tf
from machine import PRECISIONS
from machine import cpu_info
from machine import fast_precisions

import simclr_keras
from simclr_keras.normalization import plain_batch_norm

try:
    import torch
except ImportError:
    torch = None

# name: width of the ResNet-18, image size, batch size
CASES = {
    "full": (1, 32, 64),
    "quarter": (0.25, 28, 256),
}
LEARNING_RATE = 0.01
MOMENTUM = 0.9
TEMPERATURE = 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--precision", choices=PRECISIONS, action="append")
    arguments = parser.parse_args()
    describe_machine()
    for case in arguments.case or CASES:
        for precision in arguments.precision or fast_precisions():
            report(case, precision, arguments.rounds)


def describe_machine():
    cpu = cpu_info()
    extensions = sorted(
        flag
        for flag in cpu.get("flags", "").split()
        if flag.startswith(("avx", "amx"))
    )
    gpus = tf.config.list_physical_devices("GPU")
    rows = {
        "device": f"{cpu.get('model name', platform.processor())}, "
        f"{os.cpu_count()} cores, {len(gpus)} GPUs",
        "features": " ".join(extensions),
        "oneDNN": "TF_ENABLE_ONEDNN_OPTS="
        + os.environ["TF_ENABLE_ONEDNN_OPTS"],
        "versions": f"python {platform.python_version()}, "
        f"tensorflow {tf.__version__}, keras {keras.__version__}, "
        f"torch {torch.__version__ if torch else 'not installed'}",
        "load": f"{os.getloadavg()[0]:.1f} at the start",
    }
    for name, text in rows.items():
        print(f"{name:9} {text}", flush=True)


def report(case, precision, rounds):
    width, image_size, batch_size = CASES[case]
    views = np.random.default_rng(0).random(
        (2 * batch_size, image_size, image_size, 3), np.float32
    )
    steps = keras_steps(width, image_size, precision, views)
    if torch:
        steps["torch"] = torch_step(width, precision, views)
    seconds, cpu_seconds = measure(steps, rounds)
    print(
        f"\nResNet-18, width {width}, {image_size} px, batch {batch_size}, "
        f"{precision}, n={rounds}"
    )
    print("          images/s   ms, median (quartiles)   CPU ms   ours is")
    for name in steps:
        low, middle, high = np.quantile(seconds[name], [0.25, 0.5, 0.75])
        ratio = middle / np.median(seconds["ours"])
        print(
            f"{name:8} {batch_size / middle:9.1f}   {1e3 * middle:8.1f}"
            f" ({1e3 * low:.1f} .. {1e3 * high:.1f})"
            f"   {1e3 * np.median(cpu_seconds[name]):8.1f}   {ratio:.2f}x"
        )


def measure(steps, rounds):
    """{name: seconds of each round}, by the wall and by all cores' work."""
    for step in steps.values():
        step()
        step()
    wall = {name: [] for name in steps}
    cpu = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            step()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - cpu_start)
    return wall, cpu


def keras_steps(width, image_size, precision, views):
    """{name: function that trains one step and waits for its loss}."""
    mixed = precision if precision == "float32" else f"mixed_{precision}"
    keras.config.set_dtype_policy(mixed)
    encoder = simclr_keras.resnet(
        18, width, stem="cifar", image_size=image_size, seed=0
    )
    head = simclr_keras.projection_head(encoder.output_shape[-1], seed=0)
    views = tf.constant(views)
    return {
        "ours": keras_step(encoder, head, views),
        "keras": keras_step(
            plain_batch_norm(encoder), plain_batch_norm(head), views
        ),
    }


def keras_step(encoder, head, views):
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM)
    variables = encoder.trainable_variables + head.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            z = head(encoder(views, training=True), training=True)
            loss = simclr_keras.nt_xent(*tf.split(z, 2), TEMPERATURE)
        gradients = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply(gradients, variables)
        return loss

    return lambda: step().numpy()


def torch_step(width, precision, views):
    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    model = torch_resnet18(width).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM
    )
    images = torch.from_numpy(views).permute(0, 3, 1, 2)
    images = images.contiguous(memory_format=torch.channels_last)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            "cpu", torch.bfloat16, enabled=precision == "bfloat16"
        ):
            z = model(images)
        loss = torch_nt_xent(z.float())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_nt_xent(z):
    z = torch.nn.functional.normalize(z)
    logits = z @ z.T / TEMPERATURE
    logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
    partner = torch.arange(len(z)).roll(len(z) // 2)
    return torch.nn.functional.cross_entropy(logits, partner)


def torch_resnet18(width):
    """The network of `simclr_keras.resnet(18, stem="cifar")` with its head."""
    nn = torch.nn

    def conv_norm(inputs, outputs, size, stride=1):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
            nn.BatchNorm2d(outputs),
        )

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride, projection):
            super().__init__()
            self.branch = nn.Sequential(
                conv_norm(inputs, outputs, 3, stride),
                nn.ReLU(inplace=True),
                conv_norm(outputs, outputs, 3),
            )
            self.shortcut = (
                conv_norm(inputs, outputs, 1, stride)
                if projection
                else nn.Identity()
            )

        def forward(self, x):
            return torch.relu_(self.branch(x) + self.shortcut(x))

    channels = round(64 * width)
    modules = [conv_norm(3, channels, 3), nn.ReLU(inplace=True)]
    for group in range(4):
        outputs = channels * 2**group
        inputs = channels if group == 0 else outputs // 2
        stride = 1 if group == 0 else 2
        modules.append(Block(inputs, outputs, stride, projection=True))
        modules.append(Block(outputs, outputs, 1, projection=False))
    modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    for last in (False, False, True):
        modules.append(nn.Linear(outputs, 128 if last else outputs, bias=False))
        modules.append(nn.BatchNorm1d(128 if last else outputs))
        if not last:
            modules.append(nn.ReLU(inplace=True))
    return nn.Sequential(*modules)


if __name__ == "__main__":
    main()
