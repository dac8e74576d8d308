"""How good the embeddings are: protocols on a frozen encoder.

    linear_probe.run(encoder, train, test)      # {"top1": ..., "top5": ...}
    knn.run(encoder, train, test)
    compare.run(encoder, {"raw pixels": compare.raw_pixels(32)}, train, test)

while it trains:

    held_out.run(encoder, held_out.images(split, ...))  # no test images
    sphere.run(model, images)                   # alignment and uniformity

and on one that labels train on:

    finetune.run(encoder, split, test, labels_per_class=10)
    linear_sgd.run(encoder, split, test)        # the classifier alone
    classification.run(classifier, test)        # one that is trained already

Encoders are Keras models, `train` and `test` tf.data datasets of
`(images, labels)`, `split` a `data.Split`, whose images are cropped anew in
each epoch; results are plain dicts, ready for JSON.
"""

from simclr_keras.evaluation import classification
from simclr_keras.evaluation import compare
from simclr_keras.evaluation import features
from simclr_keras.evaluation import finetune
from simclr_keras.evaluation import held_out
from simclr_keras.evaluation import knn
from simclr_keras.evaluation import linear_probe
from simclr_keras.evaluation import linear_sgd
from simclr_keras.evaluation import sphere
from simclr_keras.evaluation import subsets

__all__ = [
    "classification",
    "compare",
    "features",
    "finetune",
    "held_out",
    "knn",
    "linear_probe",
    "linear_sgd",
    "sphere",
    "subsets",
]
