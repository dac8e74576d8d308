"""SimCLR's ablations on one data set: augmentation, head, temperature, layer.

    PYTHONPATH=. python benchmarks/ablation_study.py --dataset=FOLDER

Each variant is a run of `train.py` that differs in what its name says, and
goes on where it was stopped. Of each, linear probe and kNN are measured on the
embedding h and on the projection z (SimCLR, figures 5 and 8, table 5), and
kept as `results.json` in its folder; the one in `--runs` has means and spread
over `--seeds`, for `simclr-report --markdown`. Flags behind `--` go to every
run.
"""

import argparse
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras

from simclr_keras import data
from simclr_keras import run_files
from simclr_keras.evaluation import accuracy
from simclr_keras.evaluation import compare

ROOT = pathlib.Path(__file__).parent.parent
VARIANTS = {
    "recipe": (),
    "crop_only": ("--color_jitter_strength=0", "--grayscale_probability=0"),
    "color_only": ("--crop=none",),
    "head_none": ("--proj_head_mode=none",),
    "head_linear": ("--proj_head_mode=linear",),
    "temperature_0.05": ("--temperature=0.05",),
    "temperature_0.1": ("--temperature=0.1",),
    "temperature_0.5": ("--temperature=0.5",),
    "temperature_1": ("--temperature=1",),
}
LAYERS = {"h": "encoder", "z": "projection"}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        usage="%(prog)s --dataset=DATASET [options] [-- FLAG ...]",
    )
    parser.add_argument("--dataset", required=True, help="as of train.py")
    parser.add_argument("--image_size", type=int, default=16)
    parser.add_argument("--train_epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS)
    )
    parser.add_argument(
        "--evaluations",
        nargs="+",
        choices=compare.EVALUATIONS,
        default=list(compare.EVALUATIONS),
    )
    parser.add_argument("--runs", type=pathlib.Path, default="runs/ablations")
    parser.add_argument("flags", nargs="*", metavar="FLAG")
    arguments = parser.parse_args()
    for seed in arguments.seeds:
        for name in arguments.variants:
            run = folder(arguments, name, seed)
            if not (run / "results.json").exists():
                train(run, VARIANTS[name], seed, arguments)
                measure(run, arguments)
            show(run)
    run_files.write_json(arguments.runs / "results.json", means(arguments))


def folder(arguments, variant, seed):
    """Where a run lies."""
    return arguments.runs / f"{variant}-seed-{seed}"


def train(run, flags, seed, arguments):
    """Trains, as a process of its own; what it prints goes to `run.log`."""
    run.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(ROOT / "train.py"), "--mode=train"]
    for name in ("dataset", "image_size", "train_epochs"):
        command.append(f"--{name}={getattr(arguments, name)}")
    command += ["--noexport", "--keep_checkpoint_max=1", f"--seed={seed}"]
    command += [f"--model_dir={run}", *flags, *arguments.flags]
    with open(run / "run.log", "a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def measure(run, arguments):
    """Writes `results.json`: the accuracies of h and z."""
    source = data.open_source(arguments.dataset)
    train, test = (
        data.pipelines.evaluation(
            split, batch_size=1000, image_size=arguments.image_size
        )
        for split in (source.train, source.test)
    )
    encoder, head = (
        keras.models.load_model(run / f"{name}.keras", compile=False)
        for name in ("encoder", "projection_head")
    )
    projection = keras.Model(encoder.inputs, head(encoder.outputs[0]))
    results = compare.run(
        encoder,
        {"projection": projection},
        train,
        test,
        evaluations=arguments.evaluations,
        labels_per_class=(),
    )
    run_files.write_json(run / "results.json", results)


def measured(run):
    """What `measure` found: layer -> evaluation -> result."""
    return run_files.read_json(run / "results.json")["representations"]


def means(arguments):
    """What was measured of all runs, in the form of one run's results."""
    representations = {}
    for variant in arguments.variants:
        runs = [
            measured(folder(arguments, variant, seed))
            for seed in arguments.seeds
        ]
        for layer, name in LAYERS.items():
            representations[f"{variant}, {layer}"] = {
                evaluation: {
                    **result,
                    **accuracy.over_draws(
                        [run[name][evaluation] for run in runs]
                    ),
                    "pretraining_seeds": arguments.seeds,
                }
                for evaluation, result in runs[0][name].items()
            }
    return {"representations": representations}


def show(run):
    """Prints one line about a run."""
    results = measured(run)
    cells = [
        f"{layer} {evaluation} {100 * result['top1']:5.1f}"
        for layer, name in LAYERS.items()
        for evaluation, result in results[name].items()
    ]
    print(f"{run.name:28}  {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
