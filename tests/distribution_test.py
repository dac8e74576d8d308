"""What is said to, and heard from, `tf.distribute`."""

import json

import numpy as np
import pytest
import tensorflow as tf

from simclr_keras import cluster
from simclr_keras import distribution
from simclr_keras import metrics
from simclr_keras.data import pipelines
from tests import replicas
from tests import small_run


@pytest.fixture
def config(monkeypatch):
    """Sets `TF_CONFIG`."""

    def config(hosts, kind="worker", index=0):
        task = {"type": kind, "index": index}
        text = json.dumps({"cluster": hosts, "task": task})
        monkeypatch.setenv("TF_CONFIG", text)

    return config


TWO = {"worker": ["a:1", "b:1"]}


class TestCluster:
    def test_alone(self, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        assert cluster.cluster() == cluster.Cluster(1, 0)
        assert cluster.cluster().is_chief

    @pytest.mark.parametrize("index", [0, 1])
    def test_workers(self, config, index):
        config(TWO, index=index)
        assert cluster.cluster() == cluster.Cluster(2, index)
        assert cluster.cluster().is_chief == (index == 0)

    def test_a_chief_comes_before_the_workers(self, config):
        hosts = {"worker": ["b:1", "c:1"], "chief": ["a:1"]}
        config(hosts, "worker", 1)
        assert cluster.cluster() == cluster.Cluster(3, 2)
        config(hosts, "chief", 0)
        assert cluster.cluster().is_chief

    @pytest.mark.parametrize(
        "text",
        [
            "{",
            "[]",
            '{"cluster": {"worker": ["a:1"]}}',
            '{"cluster": {"worker": ["a:1"]}, '
            '"task": {"type": "worker", "index": 1}}',
            '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        ],
    )
    def test_what_it_cannot_mean(self, monkeypatch, text):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match="`TF_CONFIG` must name") as error:
            cluster.cluster()
        assert text in str(error.value)


class TestStrategyName:
    def test_auto(self, config, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        monkeypatch.setattr(cluster, "_DRIVERS", ())
        assert cluster.strategy_name("auto") == "one"
        assert cluster.strategy_name("auto", devices=2) == "mirrored"
        monkeypatch.setattr(cluster, "_DRIVERS", ("/",))
        assert cluster.strategy_name("auto") == "auto"
        assert cluster.strategy_name("auto", devices=1) == "one"
        config(TWO)
        assert cluster.strategy_name("auto") == "multi_worker"

    def test_contradictions(self, config, monkeypatch):
        with pytest.raises(ValueError, match="`name` must be one of auto"):
            cluster.strategy_name("horovod")
        config(TWO)
        for name in ("one", "mirrored"):
            with pytest.raises(ValueError, match="must not name several"):
                cluster.strategy_name(name)
        monkeypatch.delenv("TF_CONFIG")
        with pytest.raises(ValueError, match="must name more than one worker"):
            cluster.strategy_name("multi_worker")


class TestStrategy:
    def test_one_is_none(self, monkeypatch):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        assert distribution.strategy("one") is None
        with distribution.scope(None):
            assert distribution.num_replicas() == 1

    def test_several_gpus_are_mirrored_up_to_what_is_asked(self, monkeypatch):
        chosen = []
        monkeypatch.setattr(
            tf.config, "list_physical_devices", lambda kind: ["g0", "g1", "g2"]
        )
        monkeypatch.setattr(
            tf.config, "set_visible_devices", lambda *args: chosen.append(args)
        )
        monkeypatch.setattr(tf.distribute, "MirroredStrategy", list)
        assert distribution.strategy("mirrored") == [
            f"/gpu:{number}" for number in range(3)
        ]
        assert len(distribution.strategy("auto", 2)) == 2
        assert chosen == [(["g0", "g1"], "GPU")]
        with pytest.raises(ValueError, match="at most 3, the GPUs of this"):
            distribution.strategy("mirrored", 4)

    def test_no_such_tpu(self, monkeypatch):
        def resolver(tpu, zone, project):
            raise tf.errors.NotFoundError(None, None, f"no TPU {tpu} in {zone}")

        monkeypatch.setattr(
            tf.distribute.cluster_resolver, "TPUClusterResolver", resolver
        )
        with pytest.raises(ValueError, match="`tpu_name` must be that of"):
            distribution.strategy("tpu", tpu_name="a", tpu_zone="b")


class TestPerReplica:
    def test_rows_in_order(self):
        strategy = replicas.mirrored()
        whole = small_run.batches()
        half = small_run.BATCH // 2
        for parts, (images, labels) in zip(
            small_run.batches(strategy), whole, strict=True
        ):
            for place in (0, 1):
                rows = slice(place * half, (place + 1) * half)
                for part, expected in zip(parts, (images, labels), strict=True):
                    found = strategy.experimental_local_results(part)[place]
                    np.testing.assert_array_equal(found, expected[rows])

    def test_each_worker_reads_its_own_rows(self):
        split, size = small_run.split(), small_run.BATCH
        arguments = {"image_size": 8, "seed": 3, "num_steps": 2}
        whole = list(pipelines.pretraining(split, size, **arguments))
        # The second of two workers with two replicas each.
        dataset = pipelines.pretraining(
            split, size, replicas=(4, 2, 2), **arguments
        )
        assert len(dataset) == 4
        assert dataset.element_spec[0].shape == [size // 4, 8, 8, 3]
        for number, (images, labels) in enumerate(dataset):
            step, part = divmod(number, 2)
            rows = slice((2 + part) * size // 4, (3 + part) * size // 4)
            np.testing.assert_array_equal(images, whole[step][0][rows])
            np.testing.assert_array_equal(labels, whole[step][1][rows])

    def test_batch_that_cannot_be_shared(self):
        with pytest.raises(ValueError, match="multiple of the number of repl"):
            pipelines.pretraining(
                small_run.split(),
                10,
                image_size=8,
                seed=0,
                num_steps=1,
                replicas=(4, 0, 4),
            )


class TestOverReplicas:
    def run(self, function):
        strategy = replicas.mirrored()
        results = tf.function(lambda: strategy.run(function))()
        return [
            strategy.experimental_local_results(r)
            for r in tf.nest.flatten(results)
        ]

    def test_total_and_mean(self):
        def values():
            number = tf.cast(distribution.replica_id(), tf.float32)
            return distribution.total(number + 1), distribution.mean(number)

        assert self.run(values) == [(3.0, 3.0), (0.5, 0.5)]

    def rows(self, count):
        """[B, 2], B not known before it is there."""
        kept = tf.range(3) < count
        rows = tf.boolean_mask(tf.ones([3, 2]), kept)
        return tf.reduce_sum(distribution.equal_rows(rows))

    def test_equal_rows(self):
        assert self.run(lambda: self.rows(2)) == [(4.0, 4.0)]

    def test_unequal_rows(self):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match="must get equally many images"
        ):
            self.run(lambda: self.rows(2 + distribution.replica_id()))

    def test_an_overflow_anywhere_is_one_everywhere(self):
        def values():
            number = tf.cast(distribution.replica_id(), tf.float32)
            gradients = [tf.ones([2]), None, 1.0 / (1.0 - number)]
            first, none, second = distribution.spread_overflow(gradients)
            assert none is None
            return tf.reduce_sum(first), second

        for results in self.run(values):
            assert not np.any(np.isfinite(results))

    def test_finite_gradients_stay(self):
        results = self.run(
            lambda: distribution.spread_overflow([tf.ones([2]), tf.ones([])])
        )
        np.testing.assert_array_equal(results[0], np.ones([2, 2]))

    def test_global_mean_is_the_same_inside_and_outside(self):
        strategy = replicas.mirrored()
        with strategy.scope():
            metric = metrics.GlobalMean("loss")

        def update():
            metric.update_state(3.0, sample_weight=1.0)
            metric.update_state(6.0, sample_weight=2.0)
            return metric.result()

        assert self.run(update) == [(5.0, 5.0)]
        assert float(metric.result()) == 5.0
        assert [float(v.numpy()) for v in metric.variables] == [15.0, 3.0]
        metric.reset_state()
        assert float(metric.result()) == 0.0


def test_one_worker_agrees_with_itself():
    assert distribution.equal_on_all_workers(None, 7)
    assert distribution.equal_on_all_workers(replicas.mirrored(), 7)
    assert distribution.worker_flag(replicas.mirrored()) is None
