"""Distillation: what a student learns from a teacher, and what from labels."""

from simclr_keras.flags import definitions

_TEMPERATURE = definitions.number(
    "distillation_temperature",
    1.0,
    "Temperature of teacher and student in --train_mode=distill: below 1 the "
    "teacher's best class counts more. SimCLRv2: 1 for a smaller student, 0.1 "
    "for self-distillation; between them it hardly matters.",
    above=0,
)
_ALPHA = definitions.number(
    "distillation_alpha",
    1.0,
    "Weight of what the teacher says in --train_mode=distill; labels have the "
    "rest, for the images of --label_fraction or --labels_per_class. 1 uses "
    "no label.",
    above=0,
    maximum=1,
)


def distiller():
    """Arguments of `simclr_keras.Distiller`, from flags."""
    return {"temperature": _TEMPERATURE.value, "alpha": _ALPHA.value}
