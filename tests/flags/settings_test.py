"""Resolving, printing and keeping every value of a run."""

import json
import os

import pytest

from simclr_keras.flags import catalogue
from simclr_keras.flags import settings


def _resolve(given):
    return settings.resolve(given, image_size=28, num_examples=60_000)


class TestResolve:
    def test_every_value_with_its_origin(self, parse, tmp_path):
        file = tmp_path / "a.flags"
        file.write_text("--resnet_depth=34\n")
        resolved = _resolve(
            parse(f"--flagfile={file}", "--dataset=kmnist", "--nouse_blur")
        )
        assert list(resolved.settings) == list(catalogue.definitions())
        assert resolved["dataset"] == ("kmnist", "command line")
        assert resolved["use_blur"] == (False, "command line")
        assert resolved["resnet_depth"] == (34, "flagfile")
        assert resolved["image_size"] == (28, "recipe")
        assert resolved["momentum"] == (0.9, "default")
        assert resolved.recipe.name == "small images"

    def test_flags_hold_the_resolved_values(self, parse):
        resolved = _resolve(parse("--dataset=kmnist"))
        values = catalogue.values()
        assert values == {name: resolved[name][0] for name in values}
        assert values["width_multiplier"] == 0.25

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (
                "--train_batch_size=4096",
                "flag --train_batch_size=4096: must be at most 1437, the "
                "number of training images",
            ),
            (
                "--train_steps=5 --warmup_epochs=2",
                "flag --warmup_epochs=2: must be less than --train_steps=5",
            ),
            (
                "--eval_every=61 --train_epochs=60",
                "flag --eval_every=61: must be at most 60, the epochs",
            ),
            (
                "--eval_every=2 --train_steps=9 --train_batch_size=64",
                "flag --eval_every=2: must be at most 0.4008, the epochs",
            ),
            (
                "--labels_per_class=1,7",
                "flag --labels_per_class=1,7: must be at most 6, the images",
            ),
        ],
    )
    def test_refuses_what_the_data_contradict(
        self, parse, capsys, arguments, problem
    ):
        given = parse(*arguments.split())
        with pytest.raises(SystemExit) as exit_info:
            settings.resolve(
                given, image_size=8, num_examples=1437, smallest_class=6
            )
        assert exit_info.value.code == 2
        assert problem in capsys.readouterr().err

    def test_notes(self, parse):
        given = parse("--cache_dataset", "--sk_ratio=0.1")
        resolved = settings.resolve(given, image_size=8, num_examples=1437)
        assert len(resolved.notes) == 2
        assert "--cache_dataset has no effect" in resolved.notes[1]
        assert [
            line.removeprefix("note: ")
            for line in resolved.lines()
            if line.startswith("note: ")
        ] == resolved.notes
        assert _resolve(parse()).notes == []


class TestResolved:
    def test_lines_show_every_value_once(self, parse, tmp_path):
        file = tmp_path / "a.flags"
        file.write_text("--resnet_depth=34\n")
        lines = _resolve(parse(f"--flagfile={file}", "--seed=3")).lines()
        assert max(len(line) for line in lines) < 80
        text = "\n".join(lines)
        for name, value in catalogue.values().items():
            shown = catalogue.as_text(value)
            row = any(line.split()[:2] == [name, shown] for line in lines)
            assert row != (f" {name}={shown}" in text)
        rows = [line.split() for line in lines]
        assert ["seed", "3", "command", "line"] in rows
        assert ["image_size", "16", "recipe"] in rows
        assert any(
            line.startswith("flagfile: resnet_depth=34") for line in lines
        )

    def test_columns_are_aligned(self, parse):
        lines = _resolve(parse("--temperature=0.25")).lines()
        rows = [line for line in lines if line.endswith("recipe")]
        assert len({line.rindex("recipe") for line in rows}) == 1

    def test_as_dict_survives_json(self, parse):
        resolved = _resolve(parse("--labels_per_class=1,2"))
        restored = json.loads(json.dumps(resolved.as_dict()))
        assert restored == resolved.as_dict()
        assert restored["recipe"] == "digits"
        assert restored["flags"]["labels_per_class"] == [1, 2]
        assert restored["origins"]["labels_per_class"] == "command line"
        assert list(restored["flags"]) == list(restored["origins"])


class TestDifferences:
    def test_names_what_changes_the_result(self, parse):
        before = _resolve(parse("--dataset=kmnist")).as_dict()["flags"]
        after = _resolve(parse("--dataset=kmnist", "--temperature=0.7"))
        assert after.differences(before) == ["--temperature was 0.2 and is 0.7"]

    def test_not_what_leaves_the_weights_alone(self, parse):
        before = _resolve(parse("--dataset=kmnist")).as_dict()["flags"]
        after = _resolve(parse("--dataset=kmnist", "--knn_k=5", "--noexport"))
        assert after.differences(before) == []

    @pytest.mark.parametrize(
        ("argument", "same"),
        [
            ("--model_dir=elsewhere", True),
            ("--overwrite", True),
            ("--checkpoint_steps=7", True),
            ("--knn_k=5", False),
            ("--noexport", False),
            ("--mode=train", False),
            ("--temperature=0.7", False),
        ],
    )
    def test_what_asks_for_more_than_was_done(self, parse, argument, same):
        before = _resolve(parse("--dataset=kmnist")).as_dict()["flags"]
        after = _resolve(parse("--dataset=kmnist", argument))
        assert after.same_as(before) == same


class TestSnapshot:
    @pytest.mark.parametrize(
        "arguments",
        [
            "",
            "--dataset=cifar10 --labels_per_class= --noexport",
            "--train_steps=40 --checkpoint_steps=7 --evaluations=knn",
            "--proj_head_mode=none --optimizer=adamw --weight_decay=1e-5",
            "--mode=train --model_dir=runs/with#sign --train_split=train[:9%]",
        ],
    )
    def test_reads_back_to_the_same_run(self, parse, tmp_path, arguments):
        before = _resolve(parse(*arguments.split()))
        path = tmp_path / "run.flags"
        settings.snapshot(path)
        after = _resolve(parse(f"--flagfile={path}"))
        for name, (value, _) in before.settings.items():
            assert after[name][0] == value
        assert after.notes == before.notes

    def test_holds_our_flags_only(self, parse, tmp_path):
        _resolve(parse())
        path = tmp_path / "run.flags"
        settings.snapshot(path)
        names = {
            line.removeprefix("--").partition("=")[0]
            for line in path.read_text().splitlines()
            if line.startswith("--")
        }
        ours = set(catalogue.definitions())
        assert names <= ours | {f"no{name}" for name in ours}

    def test_never_overwrites(self, parse, tmp_path):
        _resolve(parse("--overwrite", "--init_from=/"))
        path = tmp_path / "run.flags"
        settings.snapshot(path)
        assert "overwrite" not in path.read_text()
        assert "--init_from=/\n" in path.read_text()

    def test_is_written_whole_or_not_at_all(self, parse, tmp_path, monkeypatch):
        parse()
        path = tmp_path / "run.flags"
        path.write_text("old")

        def disk_full(source, target):
            raise OSError("No space left on device")

        monkeypatch.setattr(os, "replace", disk_full)
        with pytest.raises(OSError, match="No space"):
            settings.snapshot(path)
        assert path.read_text() == "old"


class TestReplicas:
    def problem(self, parse, capsys, num_replicas, *arguments):
        parse(*arguments)
        with pytest.raises(SystemExit) as exit_info:
            settings.check_replicas(num_replicas)
        assert exit_info.value.code == 2
        return capsys.readouterr().err.splitlines()[0]

    def test_a_batch_that_they_share(self, parse):
        parse("--train_batch_size=96", "--micro_batch_size=16")
        settings.check_replicas(1)
        settings.check_replicas(3)

    def test_a_batch_that_they_cannot_share(self, parse, capsys):
        problem = self.problem(parse, capsys, 3, "--train_batch_size=100")
        assert problem.endswith(
            "flag --train_batch_size=100: must be a multiple of 3, the number "
            "of replicas; nearest: 99 and 102"
        )
        problem = self.problem(parse, capsys, 8, "--train_batch_size=4")
        assert problem.endswith("nearest: 8")

    def test_micro_batches_that_do_not_divide_a_share(self, parse, capsys):
        arguments = "--train_batch_size=96", "--micro_batch_size=32"
        problem = self.problem(parse, capsys, 2, *arguments)
        assert "flag --micro_batch_size=32: must divide 48, the" in problem
