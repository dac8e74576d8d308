from simclr_keras.evaluation import compare


def _results(top5=0.999, converged=True, notice=None, unseen=()):
    linear = {"top1": 0.98123, "top5": top5, "converged": converged}
    few = {"top1": 0.8921, "top5": top5, "top1_std": 0.01298}
    parts = {
        "linear_probe": linear,
        "linear_probe_5_per_class": few | {"labels_per_class": 5},
        "linear_probe_10_per_class": few | {"labels_per_class": 10},
        "knn": {"top1": 0.9704, "top5": top5, "notice": notice},
    }
    row = {
        name: {"unseen_classes": list(unseen)} | part
        for name, part in parts.items()
    }
    return {
        "num_train": 1400,
        "num_examples": 397,
        "seed": 0,
        "draws": 5,
        "representations": {"encoder": row, "a baseline with a long name": row},
    }


class TestTable:
    def test_by_hand(self):
        rule = "-" * 81
        columns = "     98.1     99.9     97.0     89.2 ± 1.3     89.2 ± 1.3"
        assert compare.table(_results()) == [
            " " * 24 + "   linear   linear      kNN   linear top-1   linear "
            "top-1",
            " " * 24 + "    top-1    top-5    top-1        5/class       "
            "10/class",
            rule,
            f"{'encoder':24}{columns}",
            f"{'a baseline with a long ':24}{columns}",
            "Percent of 397 test examples; trained on 1,400.",
            "N/class: on N labels of each class, mean and standard deviation "
            "over 5 draws.",
        ]

    def test_no_top5_column_where_it_says_nothing(self):
        lines = compare.table(_results(top5=None))
        assert "top-5" not in "".join(lines)

    def test_notes(self):
        lines = compare.table(
            _results(converged=False, notice="k is 9", unseen=[3])
        )
        assert "98.1*" in lines[3]
        assert lines[-3:] == [
            "k is 9",
            "*: the fit stopped before it converged.",
            "Without a training example, so missed: [3].",
        ]
