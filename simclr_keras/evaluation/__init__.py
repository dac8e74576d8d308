"""How good the embeddings are: protocols on a frozen encoder.

    linear_probe.run(encoder, train, test)      # {"top1": ..., "top5": ...}
    knn.run(encoder, train, test)
    compare.run(encoder, {"raw pixels": compare.raw_pixels(32)}, train, test)

Encoders are Keras models, `train` and `test` tf.data datasets of
`(images, labels)`; results are plain dicts, ready for JSON.
"""

from simclr_keras.evaluation import compare
from simclr_keras.evaluation import features
from simclr_keras.evaluation import knn
from simclr_keras.evaluation import linear_probe
from simclr_keras.evaluation import subsets

__all__ = ["compare", "features", "knn", "linear_probe", "subsets"]
