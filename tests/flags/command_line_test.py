"""What a command line means, and how a wrong one is answered."""

import subprocess
import sys
import time

import pytest

from simclr_keras.flags import catalogue
from simclr_keras.flags import command_line
from simclr_keras.flags import recipes
from simclr_keras.flags import rules

# README.md at dec99a8 and tf2/README.md at cc35d4e of google-research/simclr:
# every command there. CHECKPOINT is its /tmp/simclr_test.
_GOOGLE = {
    "pretrain CIFAR-10": """
        --train_mode=pretrain --train_batch_size=512 --train_epochs=1000
        --learning_rate=1.0 --weight_decay=1e-4 --temperature=0.5
        --dataset=cifar10 --image_size=32 --eval_split=test --resnet_depth=18
        --use_blur=False --color_jitter_strength=0.5
        --model_dir=CHECKPOINT --use_tpu=False""",
    "pretrain ImageNet": """
        --train_mode=pretrain
        --train_batch_size=4096 --train_epochs=100 --temperature=0.1
        --learning_rate=0.075 --learning_rate_scaling=sqrt --weight_decay=1e-4
        --dataset=imagenet2012 --image_size=224 --eval_split=validation
        --data_dir=DATA_DIR --model_dir=MODEL_DIR
        --use_tpu=True --tpu_name=TPU_NAME --train_summary_steps=0""",
    "linear evaluation on CIFAR-10": """
        --mode=train_then_eval --train_mode=finetune
        --fine_tune_after_block=4 --zero_init_logits_layer=True
        --variable_schema=(?!global_step|(?:.*/|^)Momentum|head)
        --global_bn=False --optimizer=momentum --learning_rate=0.1
        --weight_decay=0.0
        --train_epochs=100 --train_batch_size=512 --warmup_epochs=0
        --dataset=cifar10 --image_size=32 --eval_split=test --resnet_depth=18
        --checkpoint=CHECKPOINT --model_dir=MODEL_DIR --use_tpu=False""",
    "linear evaluation on ImageNet": """
        --mode=train_then_eval --train_mode=finetune
        --fine_tune_after_block=4 --zero_init_logits_layer=True
        --variable_schema=(?!global_step|(?:.*/|^)Momentum|head)
        --global_bn=False --optimizer=momentum --learning_rate=0.1
        --weight_decay=1e-6
        --train_epochs=90 --train_batch_size=4096 --warmup_epochs=0
        --dataset=imagenet2012 --image_size=224 --eval_split=validation
        --data_dir=DATA_DIR --model_dir=MODEL_DIR --checkpoint=CHECKPOINT
        --use_tpu=True --tpu_name=TPU_NAME --train_summary_steps=0""",
    "fine-tuning on 1 % of ImageNet": """
        --mode=train_then_eval --train_mode=finetune
        --fine_tune_after_block=-1 --zero_init_logits_layer=True
        --variable_schema=(?!global_step|(?:.*/|^)Momentum|head_supervised)
        --global_bn=True --optimizer=lars --learning_rate=0.005
        --learning_rate_scaling=sqrt --weight_decay=0
        --train_epochs=60 --train_batch_size=1024 --warmup_epochs=0
        --dataset=imagenet2012_subset/1pct --image_size=224
        --eval_split=validation
        --data_dir=DATA_DIR --model_dir=MODEL_DIR --checkpoint=CHECKPOINT
        --use_tpu=True --tpu_name=TPU_NAME --train_summary_steps=0
        --num_proj_layers=3 --ft_proj_selector=1""",
}


@pytest.fixture(params=_GOOGLE)
def google_command(request, tmp_path):
    command = _GOOGLE[request.param]
    for name in ("CHECKPOINT", "DATA_DIR", "MODEL_DIR", "TPU_NAME"):
        (tmp_path / name).mkdir()
        command = command.replace(name, str(tmp_path / name))
    return command.split()


class TestCommandsOfGooglesReadme:
    def test_parse_unchanged(self, parse, google_command):
        given = parse(*google_command)
        assert len(given) == len(google_command)
        values = catalogue.values()
        for argument in google_command:
            name, _, text = argument.removeprefix("--").partition("=")
            flag = catalogue.definitions()[name]
            assert values[name] == flag.parser.parse(text)


class TestParse:
    def test_nothing_given(self, parse):
        assert parse() == {}

    def test_origins(self, parse, tmp_path):
        inner = tmp_path / "inner.flags"
        inner.write_text("--seed=1\n")
        outer = tmp_path / "outer.flags"
        outer.write_text(
            f"# a comment\n--flagfile={inner}\n\n--temperature=0.3\n"
            "--nouse_blur\n// another\n--train_batch_size=64\n"
        )
        given = parse(
            "--train_batch_size=32", f"--flagfile={outer}", "--temperature=0.4"
        )
        assert given == {
            "train_batch_size": "flagfile",
            "seed": "flagfile",
            "use_blur": "flagfile",
            "temperature": "command line",
        }
        values = catalogue.values()
        assert values["temperature"] == 0.4
        assert values["train_batch_size"] == 64
        assert values["use_blur"] is False

    def test_flagfile_as_two_arguments(self, parse, tmp_path):
        file = tmp_path / "a.flags"
        file.write_text("--seed=1\n")
        assert parse("--flagfile", str(file)) == {"seed": "flagfile"}

    def test_value_as_the_next_argument(self, parse):
        given = parse("--ft_proj_selector", "-1", "-seed", "3")
        assert set(given) == {"ft_proj_selector", "seed"}
        assert catalogue.values()["ft_proj_selector"] == -1

    def test_home_directory(self, parse, monkeypatch):
        monkeypatch.setenv("HOME", "/home/someone")
        parse("--model_dir=~/runs")
        assert catalogue.values()["model_dir"] == "/home/someone/runs"

    def test_uses_sys_argv_by_default(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["train.py", "--seed=4"])
        assert command_line.parse() == {"seed": "command line"}


class TestRefusal:
    def test_unexpected_argument(self, refused):
        [problem] = refused("images")
        assert "unexpected argument images: flags start with --" in problem

    def test_value_of_a_switch_without_equals_sign(self, refused):
        [problem] = refused("--use_blur", "False")
        assert problem.endswith("takes its value with =, --use_blur=False")

    @pytest.mark.parametrize("name", ["", "absent.flags", "binary.flags"])
    def test_unreadable_flagfile(self, refused, tmp_path, name):
        (tmp_path / "binary.flags").write_bytes(b"--seed=\xff\xfe")
        path = str(tmp_path / name) if name else ""
        [problem] = refused(f"--flagfile={path}")
        assert f"flag --flagfile={path}: must be a text file" in problem

    def test_mistake_in_a_flagfile(self, refused, tmp_path):
        file = tmp_path / "a.flags"
        file.write_text("--temprature=1\n")
        [problem] = refused(f"--flagfile={file}")
        assert "temprature" in problem and "temperature" in problem

    def test_all_problems_at_once(self, refused):
        assert len(refused("--tpu_name=a", "--model_dir=" + __file__)) == 2

    def test_names_the_program(self, refused, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["/usr/bin/simclr-train"])
        assert refused("--seed=x")[0].startswith("simclr-train: ")


class TestHelp:
    @pytest.mark.parametrize("asked", ["--help", "-h", "--helpshort"])
    def test_lists_our_flags_only(self, parse, capsys, asked):
        with pytest.raises(SystemExit) as exit_info:
            parse("--seed=wrong", asked)
        assert not exit_info.value.code
        text = capsys.readouterr().out
        assert text == command_line.help_text() + "\n"
        assert "--verbosity" not in text

    def test_every_flag_with_its_default_and_meaning(self):
        text = command_line.help_text()
        joined = " ".join(text.split())
        for name, flag in catalogue.definitions().items():
            entry = f"--[no]{name} (" if flag.boolean else f"--{name}="
            assert joined.count(entry) >= 1
            assert " ".join(flag.help.split()).split("-")[0] in joined
            if flag.default is not None:
                assert f"(default {catalogue.as_text(flag.default)}" in joined

    def test_is_in_order_of_concerns_and_fits_a_terminal(self):
        text = command_line.help_text()
        titles = [text.index(title) for title, _ in catalogue.concerns()]
        assert titles == sorted(titles)
        assert max(len(line) for line in text.splitlines()) < 80

    def test_marks_recipes_and_what_has_no_effect(self):
        text = command_line.help_text()
        assert "--[no]use_blur  (default true, or by recipe)" in text
        assert "--stem={cifar,imagenet}  (by recipe)" in text
        assert "Accepted without effect:" in text

    def test_helpfull_adds_the_flags_of_libraries(self, parse, capsys):
        with pytest.raises(SystemExit):
            parse("--helpfull")
        text = capsys.readouterr().out
        assert text.startswith(command_line.help_text())
        assert "--verbosity" in text.partition("Flags of libraries")[2]


class TestRules:
    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ("--train_steps=9 --train_epochs=2", "--train_epochs=2: has no"),
            (
                "--checkpoint_steps=9 --checkpoint_epochs=2",
                "--checkpoint_epochs=2: has no effect with "
                "--checkpoint_steps=9",
            ),
            (
                "--proj_head_mode=none --num_proj_layers=2",
                "--num_proj_layers=2: has no effect with --proj_head_mode=none",
            ),
            ("--proj_head_mode=none --proj_out_dim=9", "--proj_out_dim=9: has"),
            ("--proj_head_mode=linear --num_proj_layers=2", "--num_proj_layer"),
            ("--optimizer=adamw --momentum=0.5", "--momentum=0.5: has no"),
            ("--evaluations=linear_probe --knn_k=5", "with --evaluations=lin"),
            ("--evaluations=knn --labels_per_class=5", "--labels_per_class=5:"),
            ("--labels_per_class= --label_draws=5", "--label_draws=5: has no"),
            ("--mode=train --evaluations=knn", "with --mode=train"),
            ("--noexport --keep_hub_module_max=2", "with --export=false"),
            ("--tpu_name=a", "--tpu_name=a: has no effect with --strategy="),
            ("--zero_init_logits_layer", "with --train_mode=pretrain"),
            ("--variable_schema=.*", "with --train_mode=pretrain"),
            (
                "--fine_tune_after_block=4",
                "must be -1 with --train_mode=pretrain",
            ),
            ("--ft_proj_selector=3", "must be at most 2, the layers of"),
            ("--proj_head_mode=linear --ft_proj_selector=2", "at most 1"),
            ("--proj_head_mode=none --ft_proj_selector=1", "at most 0"),
            ("--warmup_epochs=5 --train_epochs=5", "less than --train_epochs="),
            ("--dataset=./absent", "--dataset=./absent: no such file or fold"),
            ("--dataset=absent.npz", "--dataset=absent.npz: no such file"),
            ("--data_dir=/absent --dataset=cifar10", "--data_dir=/absent: no"),
            (f"--data_dir={__file__} --dataset=mnist", "file, not a folder"),
            ("--data_dir=/tmp", "--data_dir=/tmp: has no effect with --dat"),
            ("--download --dataset=.", "--download=true: has no effect with"),
            (f"--model_dir={__file__}", "is a file, not a folder"),
            ("--strategy=one --devices=2", "--devices=2: has no effect with"),
            ("--strategy=one --use_tpu", "--use_tpu=true: must be false with"),
            (
                "--strategy=tpu --tpu_name=a --master=b",
                "--tpu_name=a: has no effect with --master=b",
            ),
            ("--label_fraction=0.1", "with --train_mode=pretrain"),
            ("--checkpoint=/", "--checkpoint=/: is for --train_mode=finetune"),
        ],
    )
    def test_refused(self, refused, arguments, problem):
        [line] = refused(*arguments.split())
        assert problem in line

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            ("--temperature=0.2", "--temperature=0.2: has no effect with --tr"),
            ("--evaluations=knn", "--evaluations=knn: has no effect with --t"),
            ("--lr_range_test", "with --train_mode=finetune"),
            ("--init_from=/", "with --train_mode=finetune"),
            ("--variable_schema=a", "has no effect with --checkpoint=unset"),
            ("--fine_tune_after_block=4", "must be -1 without --checkpoint"),
            ("--checkpoint=/ --mode=eval", "must be train or train_then_eval"),
            ("--labels_per_class=5,10", "=5,10: must be one number with --tra"),
            (
                "--labels_per_class=5 --label_fraction=0.1",
                "--label_fraction=0.1: must be left out with --labels_per_cla",
            ),
            ("--ft_proj_selector=4", "must be at most 2, the layers of the"),
            ("--mode=train --label_draws=3", "has no effect with --mode=train"),
        ],
    )
    def test_refused_in_fine_tuning(self, refused, arguments, problem):
        [line] = refused("--train_mode=finetune", *arguments.split())
        assert problem in line

    @pytest.mark.parametrize(
        "arguments",
        [
            "--train_mode=finetune",
            "--train_mode=finetune --mode=train --labels_per_class=5",
            "--train_mode=finetune --label_draws=3",
            "--train_mode=finetune --checkpoint=/ --ft_proj_selector=9",
            "--mode=eval --checkpoint=/ --train_epochs=3",
            "--train_steps=9",
            "--train_epochs=2",
            "--use_tpu --tpu_name=a",
            "--strategy=mirrored --devices=2",
            "--proj_head_mode=linear --ft_proj_selector=1",
            "--proj_head_mode=none",
            "--optimizer=adam",
            "--evaluations=knn",
            "--labels_per_class=",
            "--data_dir=/absent --download --dataset=cifar10",
            "--ft_proj_selector=2",
            "--model_dir=gs://bucket/run --dataset=stl10",
        ],
    )
    def test_accepted(self, parse, arguments):
        parse(*arguments.split())

    def test_missing_checkpoint(self, parse, refused):
        [line] = refused("--train_mode=finetune", "--checkpoint=/absent")
        assert "flag --checkpoint=/absent: no such file or folder" in line
        parse("--train_mode=finetune", "--checkpoint=gs://bucket/checkpoint")

    def test_a_checkpoint_by_the_common_name_of_its_files(
        self, parse, refused, tmp_path
    ):
        flag = f"--init_from={tmp_path / 'ckpt-7'}"
        [line] = refused(flag)
        assert line.endswith("no such file or folder")
        (tmp_path / "ckpt-7.index").touch()
        parse(flag)

    @pytest.mark.parametrize(
        ("in_file", "typed", "passes"),
        [
            ("--train_epochs=5", "--train_steps=9", True),
            ("--train_steps=9", "--train_epochs=5", False),
            ("--momentum=0.8", "--optimizer=adam", True),
            ("--momentum=0.8\n--optimizer=adam", "", False),
        ],
    )
    def test_command_line_overrules_its_flagfile(
        self, parse, refused, tmp_path, in_file, typed, passes
    ):
        file = tmp_path / "a.flags"
        file.write_text(in_file)
        arguments = [f"--flagfile={file}", *typed.split()]
        if passes:
            parse(*arguments)
        else:
            assert "has no effect" in refused(*arguments)[0]

    @pytest.mark.parametrize(
        ("changed", "warning"),
        [
            ({"sk_ratio": 0.0625, "resnet_depth": 18}, "selective kernels"),
            ({"stem": "imagenet", "image_size": 32}, "--stem=cifar keeps all"),
            ({"stem": "cifar", "image_size": 224}, "16 times the work"),
            ({"use_blur": True, "image_size": 32}, "leaves blur out"),
        ],
    )
    def test_warnings(self, parse, changed, warning):
        parse()
        usual = catalogue.values() | {"stem": "imagenet"}
        assert rules.warnings(usual) == []
        found = rules.warnings(usual | {"use_blur": False} | changed)
        assert any(warning in message for message in found)


class TestProcess:
    @pytest.mark.parametrize(
        ("argument", "code"), [("--temperature=hot", 2), ("--help", 0)]
    )
    def test_answers_at_once_and_without_tensorflow(self, argument, code):
        program = (
            "import sys\n"
            "from simclr_keras import flags\n"
            "try:\n"
            "    flags.parse(['train.py', sys.argv[1]])\n"
            "finally:\n"
            "    slow = {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
            "    print('slow imports:', slow or 'none')\n"
        )
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", program, argument],
            capture_output=True,
            text=True,
        )
        assert time.monotonic() - start < 5
        assert done.returncode == code
        assert "slow imports: none" in done.stdout
        assert "Traceback" not in done.stderr

    def test_recipes_are_parsed_values(self, parse):
        parse()
        definitions = catalogue.definitions()
        known = [*recipes.RECIPES.values(), recipes.SMALL, recipes.LARGE]
        for recipe in known:
            for name, value in recipe.settings.items():
                assert definitions[name].parser.parse(value) == value
