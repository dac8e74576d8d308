"""SimCLR and SimCLRv2 for Keras 3 on TensorFlow.

    encoder = simclr_keras.resnet(depth=18, stem="cifar", image_size=32)
    head = simclr_keras.projection_head(features=512)
    model = simclr_keras.SimCLR(
        encoder, head, simclr_keras.augmenter(image_size=32), num_classes=10
    )
    model.compile(simclr_keras.LARS(simclr_keras.WarmupCosine(2.0, 976, 9766)))
    model.fit(dataset, epochs=100)
    simclr_keras.save_encoder(model, "encoder.keras")

Public names are imported on first use, so that `simclr_keras.flags` can parse
a command line, or refuse it, without waiting for TensorFlow.
"""

import importlib
import pathlib
import sys
import types

__version__ = "0.1.0"

# `flags/`, `export/` and `train.py` lie beside this folder in a checkout and
# inside it when installed; both have the one spelling `simclr_keras.flags`.
_checkout = pathlib.Path(__file__).resolve().parent.parent
if (_checkout / "setup.cfg").is_file():
    __path__.append(str(_checkout))

_PUBLIC = {
    "Distiller": "distillation",
    "LARS": "optimizers",
    "SimCLR": "simclr",
    "WarmupCosine": "schedules",
    "augmenter": "augment",
    "load_encoder": "checkpoints",
    "nt_xent": "losses",
    "projection_head": "heads",
    "resnet": "resnet",
    "save_encoder": "checkpoints",
}
_MODULES = (
    "augment",
    "callbacks",
    "classifier",
    "cluster",
    "conversion",
    "data",
    "diagnostics",
    "distillation",
    "distribution",
    "embedding",
    "evaluation",
    "export",
    "flags",
    "following",
    "heads",
    "initialization",
    "lr_range_test",
    "monitors",
    "normalization",
    "optimizers",
    "pretrained",
    "report",
    "schedules",
    "teacher",
    "training",
    "training_state",
)

__all__ = ["__version__", *_PUBLIC, *_MODULES]


def __getattr__(name):
    if name in _PUBLIC:
        module = importlib.import_module(f"{__name__}.{_PUBLIC[name]}")
        value = getattr(module, name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)


class _Package(types.ModuleType):
    def __setattr__(self, name, value):
        # Importing the submodule `resnet` must not hide the function.
        if name in _PUBLIC and isinstance(value, types.ModuleType):
            return
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
