"""The accuracy of a classifier is that of its logits, counted by hand."""

import keras
import numpy as np
import pytest

from simclr_keras.evaluation import classification
from tests.evaluation import small


def classifier(num_classes=10):
    images = keras.Input([8, 8, 3])
    init = keras.initializers.RandomNormal(seed=0)
    dense = keras.layers.Dense(num_classes, kernel_initializer=init)
    return keras.Model(images, dense(keras.layers.Flatten()(images)))


def test_accuracies_are_those_of_the_logits():
    model, (_, test) = classifier(), small.digit_datasets(9, 100)
    result = classification.run(model, test)
    batches = [(model(x).numpy(), y.numpy()) for x, y in test]
    logits, labels = (
        np.concatenate(part) for part in zip(*batches, strict=True)
    )
    top1 = np.mean(logits.argmax(axis=1) == labels)
    order = np.argsort(-logits, axis=1)[:, :5]
    assert result["top1"] == pytest.approx(top1)
    assert result["top5"] == np.mean((order == labels[:, None]).any(axis=1))
    assert result["top1_standard_error"] == pytest.approx(
        np.sqrt(top1 * (1 - top1) / 100)
    )
    assert result["num_examples"] == 100
    assert result["num_parameters"] == 8 * 8 * 3 * 10 + 10


def test_labels_of_other_data():
    _, test = small.digit_datasets(9, 100)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        classification.run(classifier(3), test)
    bare = test.map(lambda images, _: images)
    with pytest.raises(ValueError, match="`test` must have labels"):
        classification.run(classifier(), bare)
