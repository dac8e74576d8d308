"""Folders that look like those of runs, without training."""

import json

import numpy as np

from simclr_keras import run_files
from simclr_keras.report import measures

NASTY = '<script>alert("x")</script>&'
CLASS_NAMES = ["cat", NASTY, "dog"]
RESULTS = {
    "num_train": 60,
    "num_examples": 24,
    "seed": 0,
    "draws": 2,
    "representations": {
        "encoder": {
            "linear_probe": {
                "protocol": "logistic regression, all labels",
                "top1": 0.875,
                "top5": 0.96,
                "top1_standard_error": 0.0675,
            },
            "linear_probe_5_per_class": {
                "protocol": "logistic regression, 5 labels per class",
                "top1": 0.71,
                "top5": 0.9,
                "top1_std": 0.02,
                "top1_standard_error": 0.014,
                "top1_draws": [0.69, 0.73],
            },
            "knn": {
                "protocol": "vote of the nearest",
                "k": 20,
                "top1": 0.75,
                "top5": 0.9,
                "top1_standard_error": 0.0884,
            },
        },
        "raw pixels": {
            "linear_probe": {
                "top1": 0.5,
                "top5": 0.9,
                "top1_standard_error": 0.102,
                "converged": False,
            },
            "knn": {
                "k": 20,
                "top1": 0.25,
                "top5": None,
                "notice": "k is 20 instead of 200",
            },
        },
    },
}


_FINETUNED = {
    "protocol": "training with labels: whole encoder trained",
    "top5": None,
    "num_examples": 24,
    "num_train": 30,
    "label_fraction": None,
    "labels_per_class": 10,
    "seeds": [0, 1, 2],
    "train_steps": 40,
}


def finetuned(*draws, **settings):
    """The results of a run of fine-tuning, with a fit for each accuracy."""
    result = {**_FINETUNED, "top1": sum(draws) / len(draws), **settings}
    spread = {"top1_std": 0.03, "top1_standard_error": 0.02}
    if len(draws) == 1:
        spread = {"top1_std": None, "top1_standard_error": 0.05}
    result |= {**spread, "top1_draws": list(draws)}
    return {"representations": {"fine-tuned": {"finetune": result}}}


def distilled():
    """The results of a run of distillation: one test set, two networks."""
    student, teacher = (
        {
            "protocol": "accuracy on the test images",
            "top1": top1,
            "top5": None,
            "top1_standard_error": 0.05,
            "num_examples": 24,
        }
        for top1 in (0.9, 0.875)
    )
    rows = {
        "student": {"classifier": student},
        "teacher": {"classifier": teacher},
    }
    return {"representations": rows, "num_examples": 24}


def write(folder, *, labelled=True, parts=None, **flags):
    """Writes the files of a run.

    Args:
        folder: path; made.
        labelled: whether images have labels.
        parts: names of the files to write; None for all.
        **flags: settings unlike the recipe's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    writers = {
        "config.json": lambda path: run_files.write_json(path, config(flags)),
        "metrics.jsonl": lambda path: path.write_text(metrics()),
        "results.json": lambda path: run_files.write_json(path, RESULTS),
        "resources.json": lambda path: run_files.write_json(path, resources()),
        "samples.npz": lambda path: _samples(path, rng, labelled),
        "embeddings.npz": lambda path: _embeddings(path, rng, labelled),
    }
    for name in writers if parts is None else parts:
        writers[name](folder / name)
    return folder


def config(flags, finished=True):
    given = {"temperature": 0.2, **flags}
    return {
        "recipe": "digits",
        "flags": {
            "model_dir": "/somewhere/else",
            "train_batch_size": 32,
            "use_blur": False,
            "labels_per_class": [5],
            "checkpoint": None,
            **given,
        },
        "origins": {
            "model_dir": "command line",
            "train_batch_size": "recipe",
            "use_blur": "default",
            **dict.fromkeys(given, "command line"),
        },
        "dataset": {
            "name": f"photos{NASTY}",
            "fingerprint": "0123456789abcdef",
            "num_examples": 60,
            "num_classes": 3,
        },
        "environment": {"python": "3.11.7", "git_revision": None},
        "finished": finished,
    }


def metrics():
    lines = [
        {
            "step": step,
            "epoch": step // 10,
            "loss": 4.0 - step / 50,
            "contrastive_accuracy": step / 100,
            "embedding_std": 0.3,
            "learning_rate": 0.1,
            "probe_top1": step / 60,
            "probe_top5": None,
            "images_per_second": 160.0,
            "data_wait": 0.25,
        }
        for step in (10, 20, 50)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


def resources(ended=None):
    process = {
        "seconds": 75.0,
        "peak_memory_bytes": 3 * 2**29,
        "ended": None,
        "processor": "a processor",
        "accelerators": [],
    }
    processes = [process, {**process, "ended": ended}]
    return {"total_steps": 50, "processes": processes}


def _images(rng, *shape):
    return rng.integers(0, 256, [*shape, 8, 8, 3], np.uint8)


def _samples(path, rng, labelled):
    run_files.write_npz(
        path,
        images=_images(rng, 4),
        labels=np.array([0, 1, 2, -1]) if labelled else None,
        originals=_images(rng, 2) if labelled else None,
        pairs=_images(rng, 2, 2),
        class_names=CLASS_NAMES if labelled else None,
    )


def _embeddings(path, rng, labelled):
    labels = np.arange(24) % 3
    x = np.eye(3)[labels] + 0.2 * rng.normal(size=[24, 3])
    near = measures.neighbours(x, labels if labelled else None)
    run_files.write_npz(
        path,
        of="test" if labelled else "pretraining",
        embeddings=np.float16(x),
        labels=labels if labelled else None,
        map=rng.normal(size=[24, 2]),
        shown=np.arange(24),
        pictures=_images(rng, 24),
        class_names=CLASS_NAMES if labelled else None,
        confusion=np.array([[8, 0, 0], [2, 5, 1], [0, 0, 8]])
        if labelled
        else None,
        alignment=0.25,
        uniformity=-2.5,
        projection_alignment=0.125,
        projection_uniformity=-3.5,
        **near,
    )
