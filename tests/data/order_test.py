import itertools

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras.data import order


def batches(num, batch_size, first_step, num_steps, seed=0):
    dataset = order.index_batches(
        num, batch_size, seed=seed, first_step=first_step, num_steps=num_steps
    )
    return np.array(list(dataset.as_numpy_iterator())).reshape(-1, batch_size)


@pytest.fixture(scope="module")
def orders():
    """The orders of ten epochs; of numbers enough to show a weak shuffle."""
    return np.stack([order.permutation(20_000, 7, e) for e in range(10)])


class TestPermutation:
    @pytest.mark.parametrize("num", [1, 2, 97, 1000])
    def test_holds_every_number_once(self, num):
        found = order.permutation(num, 3, 5).numpy()
        np.testing.assert_array_equal(np.sort(found), np.arange(num))

    def test_depends_on_every_number(self):
        keys = [(0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0)]
        found = {tuple(order.permutation(50, *key).numpy()) for key in keys}
        assert len(found) == len(keys)

    def test_does_not_depend_on_the_global_seed(self):
        tf.random.set_seed(1)
        first = order.permutation(50, 0, 0)
        tf.random.set_seed(2)
        np.testing.assert_array_equal(first, order.permutation(50, 0, 0))

    def test_every_place_holds_every_number_as_often(self, orders):
        # Twentieths of the places against twentieths of the numbers:
        # chi-square with 19 * 19 degrees of freedom.
        table = np.zeros((20, 20))
        np.add.at(table, (np.arange(20_000) // 1000, orders // 1000), 1)
        chi_square = ((table - 500) ** 2 / 500).sum()
        assert abs(chi_square - 361) < 5 * np.sqrt(2 * 361)

    def test_consecutive_orders_are_not_alike(self, orders):
        for first, second in itertools.pairwise(orders):
            correlation = np.corrcoef(first, second)[0, 1]
            assert abs(correlation) < 5 / np.sqrt(20_000)

    @pytest.mark.parametrize("distance", [1, 2, 64])
    def test_neighbours_share_batches_by_chance(self, orders, distance):
        batch = np.argsort(orders, axis=1) // 500
        together = batch[:, distance:] == batch[:, :-distance]
        chance = 499 / 19_999
        spread = np.sqrt(together.size * chance * (1 - chance))
        assert abs(together.sum() - together.size * chance) < 5 * spread


class TestIndexBatches:
    @pytest.mark.parametrize("num,batch_size", [(10, 3), (12, 4), (5, 5)])
    def test_no_image_twice_in_an_epoch(self, num, batch_size):
        steps = num // batch_size
        found = batches(num, batch_size, 0, 4 * steps)
        epochs = found.reshape(4, -1)
        for epoch in epochs:
            assert len(set(epoch)) == steps * batch_size
        assert len({tuple(epoch) for epoch in epochs}) == 4

    def test_every_image_comes_in_the_long_run(self):
        assert set(batches(10, 4, 0, 40).ravel()) == set(range(10))

    @pytest.mark.parametrize("num_steps", [0, 1, 7])
    def test_continues_at_any_step(self, num_steps):
        whole = batches(10, 3, 0, 13)
        for first_step in range(7):
            np.testing.assert_array_equal(
                batches(10, 3, first_step, num_steps),
                whole[first_step : first_step + num_steps],
            )

    def test_is_the_permutation_of_the_epoch(self):
        found = batches(10, 3, 0, 9, seed=4).reshape(3, 9)
        for epoch in range(3):
            expected = order.permutation(10, 4, epoch)[:9]
            np.testing.assert_array_equal(found[epoch], expected)

    def test_knows_its_length_and_shape(self):
        dataset = order.index_batches(10, 3, seed=0, first_step=2, num_steps=50)
        assert dataset.cardinality() == 50
        assert dataset.element_spec.shape == [3]

    @pytest.mark.parametrize("batch_size", [0, -1, 11])
    def test_needs_one_whole_batch(self, batch_size):
        with pytest.raises(ValueError, match="`batch_size`.*for 10 images"):
            batches(10, batch_size, 0, 1)
