"""Every flagfile of `flags/experiments`: its header, its values, one step."""

import json
import math
import pathlib
import re
import shlex

import keras
import numpy as np
import pytest

import simclr_keras
import train
from simclr_keras import flags
from simclr_keras import schedules
from simclr_keras.flags import catalogue
from simclr_keras.flags import optimization

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "flags" / "experiments").glob("*.flags"))
FIELDS = ["Source", "Command", "Device", "Memory", "Published", "Run here"]
# Height and width, training images, images of the smallest class.
DATA = {
    "digits": (8, 1437, 139),
    "cifar10": (32, 50_000, 5_000),
    "stl10": (96, 100_000, 500),
    "imagenet2012": (None, 1_281_167, 732),
    "imagenet2012_subset/1pct": (None, 12_811, None),
}
# Peak learning rate: SimCLR, section 2.2 and appendices B.1, B.5, B.6, B.9;
# SimCLRv2, section 3.1.
PEAKS = {
    "finetune_cifar10_10pct": 0.05 * 512 / 256,
    "google_cifar10": 1.0 * 512 / 256,
    "google_cifar10_linear": 0.1 * 512 / 256,
    "lr_too_high": 300.0 * 256 / 256,
    "paper_cifar10": 1.0 * 1024 / 256,
    "paper_imagenet": 4.8,
    "report_cifar10_batch4096": 0.075 * math.sqrt(4096),
    "report_cifar10_batch8192": 0.075 * math.sqrt(8192),
    "report_cifar10_distill": 0.1 * math.sqrt(512),
    "report_stl10": 0.075 * math.sqrt(256),
    "simclrv2_r152_3x_sk": 6.4,
    "simclrv2_r50_sk": 6.4,
    "simclrv2_r50_sk_1pct": 0.16,
}
# One large batch in micro-batches, one network of 50 layers with selective
# kernels, one of images in between; the others are for `pytest -m slow`.
QUICK = {"report_stl10"}
BATCH, MICRO_BATCH = 8, 4

every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _in_a_checkout(monkeypatch, tmp_path):
    """Where the commands of the headers are typed, after earlier runs."""
    (tmp_path / "flags").symlink_to(ROOT / "flags")
    for path in FILES:
        (tmp_path / "runs" / path.stem).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


def header(path):
    """Summary, and (field, text) in order, of the comment that comes first."""
    comment, _, _ = path.read_text(encoding="utf-8").partition("\n\n")
    text = " ".join(line[1:].strip() for line in comment.splitlines())
    summary, *parts = re.split(f" ({'|'.join(FIELDS)}): ", text)
    return summary, list(zip(parts[::2], parts[1::2], strict=True))


def resolved(parse, path):
    """Settings of a run with this file alone, on the data that it names."""
    given = parse(f"--flagfile={path}")
    size, num_examples, smallest = DATA[catalogue.values()["dataset"]]
    return flags.resolve(
        given,
        image_size=size,
        num_examples=num_examples,
        smallest_class=smallest,
    )


def write_run(folder, size, depth, path):
    """What fine-tuning starts from."""
    encoder = simclr_keras.resnet(
        depth,
        0.125,
        sk_ratio=0.0625 * ("_sk" in path.stem),
        stem="cifar" if size <= 32 else "imagenet",
        image_size=size,
    )
    head = simclr_keras.projection_head(encoder.output_shape[-1])
    simclr_keras.save_encoder(encoder, folder / "encoder.keras")
    simclr_keras.save_encoder(head, folder / "projection_head.keras")


def test_every_file_has_a_peak_here():
    assert {path.stem for path in FILES} == PEAKS.keys()


@every_file
class TestFile:
    def test_header_has_every_field_in_order(self, path):
        summary, fields = header(path)
        assert summary.rstrip().endswith(".")
        assert [name for name, _ in fields] == FIELDS
        assert all(text.strip() for _, text in fields)

    def test_command_of_the_header_parses(self, path, parse):
        command = shlex.split(dict(header(path)[1])["Command"])
        assert command[:2] == ["python", "train.py"]
        assert f"--flagfile={path.relative_to(ROOT)}" in command
        assert "flagfile" in parse(*command[2:]).values()

    def test_resolves_without_a_note_to_a_folder_of_its_own(self, path, parse):
        settings = resolved(parse, path)
        assert settings.notes == []
        assert settings["model_dir"] == (f"runs/{path.stem}", "flagfile")

    def test_peak_learning_rate_is_that_of_source_and_header(self, path, parse):
        resolved(parse, path)
        peak = schedules.scaled_learning_rate(
            **optimization.scaled_learning_rate()
        )
        assert peak == pytest.approx(PEAKS[path.stem])
        [stated] = re.findall(r"= ([\d.]*\d)", dict(header(path)[1])["Source"])
        assert float(stated) == round(peak, 2)


def classifier(folder, size):
    """The file of a network that tells two classes."""
    images = keras.Input([size, size, 3])
    pixels = keras.layers.GlobalAveragePooling2D()(images)
    path = folder / "classifier.keras"
    keras.Model(images, keras.layers.Dense(2)(pixels)).save(path)
    return path


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=path.stem,
            marks=() if path.stem in QUICK else pytest.mark.slow,
        )
        for path in FILES
    ],
)
def test_one_small_step(path, parse, tmp_path):
    settings = resolved(parse, path)
    size, depth, batch, micro_batch, scaling = (
        settings[name][0]
        for name in (
            "image_size",
            "resnet_depth",
            "train_batch_size",
            "micro_batch_size",
            "learning_rate_scaling",
        )
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [BATCH, size, size, 3], np.uint8)
    labels = np.arange(BATCH) % 2
    np.savez(
        tmp_path / "images.npz",
        x_train=images,
        y_train=labels,
        x_test=images,
        y_test=labels,
    )
    arguments = [
        f"--flagfile={path}",
        f"--dataset={tmp_path / 'images.npz'}",
        f"--model_dir={tmp_path / 'run'}",
        f"--resnet_depth={min(depth, 50)}",
        "--width_multiplier=0.125",
        f"--train_batch_size={BATCH}",
        "--train_steps=1",
        "--warmup_epochs=0",
        "--mode=train",
        "--noexport",
    ]
    if micro_batch:
        arguments.append(f"--micro_batch_size={MICRO_BATCH}")
    if settings["train_mode"][0] == "finetune":
        write_run(tmp_path / "pretrained", size, min(depth, 50), path)
        arguments += [
            f"--checkpoint={tmp_path / 'pretrained'}",
            "--label_fraction=1",
        ]
    if settings["train_mode"][0] == "distill":
        arguments.append(f"--checkpoint={classifier(tmp_path, size)}")
    parse()
    train.main(["train.py", *arguments])
    [line] = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    logs = json.loads(line)
    assert math.isfinite(logs["loss"])
    smaller = BATCH / batch
    assert logs["learning_rate"] == pytest.approx(
        PEAKS[path.stem]
        * (smaller if scaling == "linear" else math.sqrt(smaller))
    )
