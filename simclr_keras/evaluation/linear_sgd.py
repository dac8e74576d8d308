"""Linear evaluation as in the paper: SGD on augmented images."""

import keras
import tensorflow as tf

from simclr_keras import data
from simclr_keras.evaluation import finetune


def run(
    encoder: keras.Model,
    train: data.Split,
    test: tf.data.Dataset,
    *,
    learning_rate: float = 0.1,
    train_epochs: int = 90,
    **settings,
) -> dict:
    """Accuracy of a linear classifier that SGD trains on a frozen encoder.

    SimCLR's appendix B.6: Nesterov momentum 0.9, learning rate 0.1 * B / 256
    on half a cosine, 90 epochs, no weight decay or other regularisation,
    random crops and flips; the paper's batch of 4,096 is 256 here. Unlike
    `linear_probe` it embeds every image once per epoch, which takes 90 times
    as long.

    Args:
        encoder, train, test: as for `finetune.run`; `encoder` is left
            bit-identical.
        learning_rate, train_epochs, **settings: as for `finetune.run`.

    Returns:
        What `finetune.run` returns.

    Raises:
        ValueError: as `finetune.run`.
    """
    return finetune.run(
        encoder,
        train,
        test,
        fine_tune_after_block=4,
        learning_rate=learning_rate,
        train_epochs=train_epochs,
        **settings,
    )
