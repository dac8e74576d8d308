"""Imports point one way, and importing the library defines no flag."""

import ast
import importlib
import pathlib
import subprocess
import sys

from absl import flags

import simclr_keras

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = "simclr_keras"

# What each part may import from the others. A new arrow is a change here.
LIBRARY = {
    "augment": {"augment_layers", "color_ops", "seeded_layer", "crops"},
    "augment_layers": {"color_ops", "crops", "seeded_layer"},
    "seeded_layer": {"color_ops"},
    "blockwise": {"distribution"},
    "callbacks": set(),
    "classifier": {"augment", "distribution", "heads"},
    "cluster": set(),
    "checkpoints": {"normalization"},
    "checks": {"distribution"},
    "color_ops": set(),
    "conversion": {"heads", "resnet"},
    "crops": {"color_ops", "seeded_layer"},
    "data": {"augment", "preprocessing", "crops", "seeded_layer"},
    "diagnostics": {"callbacks"},
    "distillation": {
        "augment",
        "distribution",
        "metrics",
        "optimizers",
        "preprocessing",
    },
    "distribution": {"cluster"},
    "embedding": {
        "checkpoints",
        "conversion",
        "data",
        "preprocessing",
        "run_files",
    },
    "evaluation": {
        "augment",
        "classifier",
        "data",
        "distribution",
        "normalization",
        "optimizers",
        "schedules",
        "training",
    },
    "following": {"training_state"},
    "gradient_cache": {"distribution", "normalization"},
    "heads": {"normalization"},
    "image_headers": set(),
    "initialization": {"checkpoints", "conversion", "training_state"},
    # Beside programs, the only part that reads flags.
    "jobs": {
        "augment",
        "callbacks",
        "classifier",
        "cluster",
        "data",
        "distribution",
        "evaluation",
        "flags",
        "following",
        "monitors",
        "heads",
        "initialization",
        "lr_range_test",
        "normalization",
        "optimizers",
        "pretrained",
        "resnet",
        "run_directory",
        "run_files",
        "schedules",
        "teacher",
        "training",
        "training_state",
    },
    "losses": {"blockwise", "distribution"},
    "lr_range_test": {"callbacks", "run_files"},
    "metrics": {"distribution"},
    "monitors": {"callbacks", "checkpoints", "evaluation", "run_files"},
    "normalization": {"distribution"},
    "optimizers": {"distribution"},
    "preprocessing": {"image_headers"},
    "pretrained": {
        "checkpoints",
        "conversion",
        "initialization",
        "run_files",
        "training_state",
    },
    "report": {"data", "evaluation", "run_files"},
    "resnet": {"normalization"},
    "run_directory": {"run_files"},
    "run_files": set(),
    "schedules": set(),
    "simclr": {
        "augment",
        "checks",
        "distribution",
        "gradient_cache",
        "heads",
        "losses",
        "metrics",
        "optimizers",
        "preprocessing",
    },
    "teacher": {"checkpoints", "conversion", "preprocessing"},
    "training": set(),
    "training_state": set(),
}


def imported(path):
    """Parts of the package that a file names in its imports."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = node.module.split(".")
            if module[0] != PACKAGE:
                continue
            names = [module[1]] if len(module) > 1 else []
            parts.update(names or [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(f"{PACKAGE}."):
                    parts.add(alias.name.split(".")[1])
        elif isinstance(node, ast.Attribute):
            # Modules that are imported on first use.
            of_package = getattr(node.value, "id", None) == PACKAGE
            if of_package and node.attr in {*LIBRARY, "export", "flags"}:
                parts.add(node.attr)
    return parts


def library_files():
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        part = path.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py")
        if part != "__init__":
            yield part, path


def test_library_has_the_arrows_of_the_table():
    found = {}
    for part, path in library_files():
        found.setdefault(part, set()).update(imported(path) - {part})
    unlisted = {
        part: sorted(arrows - LIBRARY.get(part, set()))
        for part, arrows in found.items()
        if part not in LIBRARY or arrows - LIBRARY[part]
    }
    assert not unlisted


def test_flags_import_nothing_of_the_library():
    for path in (ROOT / "flags").rglob("*.py"):
        assert imported(path) <= {"flags"}, path


def test_export_imports_library_and_flags_only():
    allowed = {
        "conversion",
        "data",
        "embedding",
        "export",
        "flags",
        "image_headers",
        "preprocessing",
        "run_files",
    }
    for path in (ROOT / "export").rglob("*.py"):
        extra = imported(path) - allowed - {"normalization", "__version__"}
        assert not extra, path


def test_importing_the_library_imports_no_tensorflow_and_no_flags():
    program = (
        "import sys, simclr_keras\n"
        "slow = {'tensorflow', 'keras', 'simclr_keras.flags'}\n"
        "assert not slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_the_library_defines_no_flag():
    for part, _ in library_files():
        importlib.import_module(f"{PACKAGE}.{part}")
    defining = {
        module
        for module in flags.FLAGS.flags_by_module_dict()
        if module.startswith(PACKAGE)
    }
    assert all(name.startswith(f"{PACKAGE}.flags.") for name in defining)


def test_a_module_does_not_hide_the_function_of_its_name():
    importlib.import_module(f"{PACKAGE}.resnet")
    assert simclr_keras.resnet is not sys.modules[f"{PACKAGE}.resnet"]
    assert callable(simclr_keras.resnet)
