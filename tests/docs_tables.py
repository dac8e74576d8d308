"""What of the documentation `docs_run_test` does not run as it is, and why."""

# Pages for those who have not installed this package: it cannot be imported.
PLAIN = ("docs/keras.md",)

SHELL = ("bash", "sh")
# Languages of blocks that do nothing, and what those are.
INERT = {"": "files, or what a program prints", "yaml": "for Kubernetes"}
# Commands that are not this package's, and how else they are tested.
OTHERS = {
    "curl": "needs a server; tests/export asks for the same by gRPC",
    "docker": "the image is not at hand",
    "export": "sets a variable",
    "find": "lists files for a command that needs a server",
    "make": "CI runs what is behind it",
    "pip install": "CI begins with it",
    "pytest": "runs this file",
}
# Commands of this package whose flags are parsed, and Python blocks that
# compile, but which do not run: a part of them, and why.
UNABLE = {
    'Client("localhost:8500"': "needs a server; tests/export/client_test.py",
    "--dataset=cifar10": "downloads",
    "--dataset=imagenet2012": "downloads by hand only",
    "--dataset=stl10": "downloads",
    "--mode=eval": "tests/eval_mode_test.py follows a run",
    "--train_mode=distill": "tests/jobs/distilling_test.py distils",
    "--train_mode=finetune": "tests/jobs/finetuning_test.py fine-tunes",
    "simclr-client": "needs a server; tests/export/client_test.py",
    "--init_from=r50_1x_sk0": "a ResNet-50, where docs_world has a ResNet-18",
}
# Scripts as a whole: a line of them, and why. Flags in them are looked up.
SCRIPTS = {
    "#!/bin/bash": "needs SLURM",
    "find /usr/share/icons/oxygen/base": "needs the files of a Debian package",
}
# What is replaced in the Python blocks of a page so that they take seconds.
SMALLER = {
    "README.md": {
        "depth=18,": "depth=18, width=0.125,",
        "features=512": "features=64",
        "blur=False": "blur=False, jit_compile=False",
    },
    "docs/google_checkpoints.md": {"image_size=224": "image_size=8"},
    "docs/training_in_keras.md": {
        "depth=18,": "depth=18, width=0.125,",
        "blur=False": "blur=False, jit_compile=False",
        "512": "80",
        "256": "40",
        "depth=4": "depth=1",
    },
}
