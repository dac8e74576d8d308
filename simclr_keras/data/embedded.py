"""The data set that is there without a download."""

import numpy as np

from simclr_keras.data import arrays

_TEST_SHARE = 0.2
# Results with different seeds are about the same images.
_SPLIT_SEED = 0


def digits(**kwargs):
    """scikit-learn's handwritten digits: 1,797 images of 8 x 8, 10 classes.

    They come with 17 grey levels, here spread over 0..255 in three equal
    channels, and without a split; a fifth of each class is for testing, the
    same for every seed. Raw pixels, with logistic regression, give about 96 %.

    Args:
        **kwargs: `train_split`, `eval_split`, `whole` of
            `arrays.from_arrays`.

    Returns:
        `Source`.
    """
    from sklearn import datasets
    from sklearn import model_selection

    bunch = datasets.load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    x_train, x_test, y_train, y_test = model_selection.train_test_split(
        images,
        bunch.target,
        test_size=_TEST_SHARE,
        random_state=_SPLIT_SEED,
        stratify=bunch.target,
    )
    return arrays.from_arrays(
        x_train,
        y_train,
        x_test,
        y_test,
        name="digits",
        origin="scikit-learn's handwritten digits",
        class_names=[str(name) for name in bunch.target_names],
        **kwargs,
    )
