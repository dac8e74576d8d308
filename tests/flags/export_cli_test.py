import pathlib
import subprocess
import sys

import pytest

from simclr_keras.flags import export_cli

ROOT = pathlib.Path(__file__).parents[2]


def parse(*arguments):
    return export_cli.parse(["simclr-export", *arguments])


class TestParse:
    def test_a_run(self):
        values = parse("--model_dir=runs/digits")
        assert values == {
            "model_dir": "runs/digits",
            "encoder": None,
            "linear_probe": None,
            "ft_proj_selector": None,
            "image_size": None,
            "output": None,
            "serving_precision": "float32",
            "keep_versions": None,
        }

    def test_a_file(self):
        values = parse("--encoder=e.keras", "--image_size=32", "--output=~/m")
        assert values["encoder"] == "e.keras"
        assert values["image_size"] == 32
        assert values["output"] == str(pathlib.Path.home() / "m")

    def test_calls_are_independent(self):
        parse("--model_dir=runs/digits", "--image_size=8")
        assert parse("--model_dir=runs/digits")["image_size"] is None

    def test_a_flagfile(self, tmp_path):
        flagfile = tmp_path / "export.flags"
        flagfile.write_text("# ours\n--model_dir=runs/digits\n")
        values = parse(f"--flagfile={flagfile}", "--output=served")
        assert (values["model_dir"], values["output"]) == (
            "runs/digits",
            "served",
        )

    @pytest.mark.parametrize(
        "arguments,message",
        [
            ([], "give one of --model_dir and --encoder"),
            (["--model_dir=a", "--encoder=b"], "give one of --model_dir"),
            (["--encoder=b", "--output=c"], "--encoder needs --image_size"),
            (["--encoder=b", "--image_size=8"], "--encoder needs --output"),
            (["--model_dir="], "--model_dir must not be empty"),
            (["--model_dir=a", "b"], "unexpected argument b"),
            (["--model_dirs=a"], "Did you mean: model_dir"),
            (["--image_size=0"], "--image_size=0: must be a whole number"),
            (["--image_size=big"], "--image_size=big: must be a whole number"),
            (["--keep_versions=0"], "must be a whole number of at least 1"),
            (["--serving_precision=half"], "--serving_precision=half"),
        ],
    )
    def test_mistakes(self, arguments, message, capsys):
        with pytest.raises(SystemExit) as raised:
            parse(*arguments)
        assert raised.value.code == 2
        printed = capsys.readouterr()
        assert message in printed.err
        assert len(printed.err.splitlines()) == 2
        assert printed.out == ""

    def test_help(self, capsys):
        with pytest.raises(SystemExit) as raised:
            parse("--help")
        assert raised.value.code == 0
        text = capsys.readouterr().out
        for name in parse("--model_dir=a"):
            assert f"--{name}=" in text
        assert max(map(len, text.splitlines())) < 80


class TestModule:
    def test_answers_without_tensorflow(self):
        program = (
            "import sys\n"
            "from simclr_keras.export import __main__\n"
            "try:\n"
            "    __main__.main(['simclr-export', '--model_dir=/nowhere'])\n"
            "except SystemExit as end:\n"
            "    loaded = {'tensorflow', 'keras'} & set(sys.modules)\n"
            "    sys.exit(f'imported {loaded}' if loaded else end.code)\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 2, result.stderr
        assert "--model_dir=/nowhere: no such directory" in result.stderr
