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
    """400 orders of 60 numbers, one for each epoch."""
    permutation = tf.function(lambda epoch: order.permutation(60, 7, epoch))
    return np.stack([permutation(epoch) for epoch in tf.range(400)])


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

    def test_orders_look_random(self, orders):
        # How often each twelfth of the places holds numbers of each twelfth:
        # chi-square with 11 * 11 degrees of freedom, 121 +- 15.6.
        table = np.zeros((12, 12))
        np.add.at(table, (np.arange(60) // 5, orders // 5), 1)
        expected = 400 * 60 / 144
        chi_square = ((table - expected) ** 2 / expected).sum()
        assert abs(chi_square - 121) < 5 * 15.6
        # Consecutive orders agree in one place on average.
        agreements = (orders[1:] == orders[:-1]).sum()
        assert abs(agreements - 399) < 5 * np.sqrt(399)

    def test_neighbours_share_batches_by_chance(self, orders):
        batch = np.argsort(orders, axis=1) // 10
        together = (batch[:, 1:] == batch[:, :-1]).sum()
        chance, trials = 9 / 59, 400 * 59
        spread = np.sqrt(trials * chance * (1 - chance))
        assert abs(together - trials * chance) < 5 * spread


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
