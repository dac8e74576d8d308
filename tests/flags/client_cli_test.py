import pytest

from simclr_keras.flags import client_cli


def parse(*arguments):
    return client_cli.parse(["simclr-client", *arguments])


class TestParse:
    def test_defaults(self):
        assert parse("--images=a.jpg", "--images=photos") == {
            "images": ["a.jpg", "photos"],
            "server": "localhost:8500",
            "model": "encoder",
            "version": None,
            "output": None,
            "format": "jsonl",
            "batch_size": 64,
            "timeout": 30.0,
            "retries": 4,
        }

    @pytest.mark.parametrize(
        "output,form",
        [("a.jsonl", "jsonl"), ("b.NPZ", "npz"), ("c.txt", "table")],
    )
    def test_the_ending_is_the_format(self, output, form):
        values = parse("--images=a.jpg", f"--output={output}")
        assert values["format"] == form
        given = parse("--images=a.jpg", f"--output={output}", "--format=npz")
        assert given["format"] == "npz"

    @pytest.mark.parametrize(
        "arguments,message",
        [
            ([], "give --images=FILE"),
            (["--images="], "--images must not be empty"),
            (["--images=a", "--output=a.csv"], "must end in .jsonl, .npz"),
            (["--images=a", "--timeout=0"], "timeout"),
            (["--images=a", "--retries=-1"], "retries"),
            (["--images=a", "--version=-1"], "version"),
            (["--images=a", "--batch_size=0"], "batch_size"),
            (["photos"], "unexpected argument photos"),
        ],
    )
    def test_mistakes(self, capsys, arguments, message):
        with pytest.raises(SystemExit) as raised:
            parse(*arguments)
        assert raised.value.code == 2
        assert message in capsys.readouterr().err

    def test_help(self, capsys):
        with pytest.raises(SystemExit) as raised:
            parse("--help")
        assert raised.value.code == 0
        text = capsys.readouterr().out
        for name in parse("--images=a"):
            assert f"--{name}=" in text
        assert max(map(len, text.splitlines())) < 80
        assert "repeat this option" not in text
