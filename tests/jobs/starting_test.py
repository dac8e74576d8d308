"""`--mode=eval --checkpoint`, and what a checkpoint decides."""

import json

import keras
import numpy as np

import simclr_keras
from simclr_keras import data
from simclr_keras.data import pipelines
from simclr_keras.evaluation import knn
from tests.jobs import commands


def test_another_run_is_measured_on_other_images(tmp_path, capsys):
    encoder, _ = commands.write_run(tmp_path / "a")
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    images = (
        rng.integers(0, 128, [60, 8, 8, 3]) + 100 * labels[:, None, None, None]
    )
    np.savez(
        tmp_path / "b.npz",
        x_train=np.uint8(images[:40]),
        y_train=labels[:40],
        x_test=np.uint8(images[40:]),
        y_test=labels[40:],
    )
    before = (tmp_path / "a" / "encoder.keras").read_bytes()
    commands.run(
        "--mode=eval",
        f"--checkpoint={tmp_path / 'a'}",
        f"--dataset={tmp_path / 'b.npz'}",
        f"--model_dir={tmp_path / 'run'}",
        "--evaluations=knn",
        "--knn_k=3",
        "--noexport",
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    rows = results["representations"]
    assert list(rows) == ["encoder", "raw pixels", "random encoder"]
    source = data.open_source(str(tmp_path / "b.npz"))
    train, test = (
        pipelines.evaluation(split, 256, 8)
        for split in (source.train, source.test)
    )
    expected = knn.run(encoder, train, test, k=3, num_classes=2)
    assert rows["encoder"]["knn"]["top1"] == expected["top1"]
    assert results["num_train"] == 40 and results["num_examples"] == 20
    assert (tmp_path / "a" / "encoder.keras").read_bytes() == before
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names.isdisjoint({"checkpoints", "metrics.jsonl", "encoder.keras"})
    assert "report.html" in names


def test_architecture_is_that_of_the_checkpoint(tmp_path, capsys):
    keras.utils.set_random_seed(0)
    encoder = simclr_keras.resnet(18, 1 / 16, stem="imagenet", image_size=16)
    simclr_keras.save_encoder(encoder, tmp_path / "encoder.keras")
    start = ("--train_mode=finetune", f"--checkpoint={tmp_path}")
    for flag, value in (
        ("resnet_depth=34", "18"),
        ("width_multiplier=1", "0.0625"),
        ("stem=cifar", "imagenet"),
        ("image_size=8", "16"),
        ("sk_ratio=0.0625", "0"),
    ):
        line = commands.refused(capsys, *start, f"--{flag}")
        assert line == f"flag --{flag}: must be {value}, as in --checkpoint"


def test_a_checkpoint_that_is_none(tmp_path, capsys):
    (tmp_path / "encoder.keras").write_bytes(b"PK")
    line = commands.refused(
        capsys, "--train_mode=finetune", f"--checkpoint={tmp_path}"
    )
    assert line.startswith(f"flag --checkpoint={tmp_path}: `path` must be a ")
