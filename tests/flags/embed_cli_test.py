import pytest

from simclr_keras.flags import embed_cli

EMBED = ("--encoder=run", "--images=photos", "--output=a.parquet")


def parse(*arguments):
    return embed_cli.parse(["simclr-embed", *arguments])


class TestParse:
    def test_embeds(self):
        values = parse(*EMBED)
        assert values["output"] == "a.parquet"
        assert (values["batch_size"], values["k"]) == (128, 10)
        assert values["overwrite"] is False

    def test_searches(self):
        values = parse("--embeddings=a.npz", "--nearest=b.png", "--k=3")
        assert (values["embeddings"], values["k"]) == ("a.npz", 3)

    @pytest.mark.parametrize(
        "arguments,message",
        [
            ([], "give --images to embed, or --embeddings to search"),
            (EMBED[1:], "--images needs --encoder"),
            (EMBED[:2], "--images needs --output"),
            ((*EMBED[:2], "--output=a.txt"), "--output=a.txt: must end in"),
            (["--embeddings=a.csv"], "--embeddings needs --nearest"),
            ((*EMBED, "--embeddings=a.csv"), "--images does not go with"),
            ((*EMBED, "--html=a.html"), "--html needs --nearest"),
            ((*EMBED, "--k=0"), "--k=0: must be a whole number of at least 1"),
            ((*EMBED, "more"), "unexpected argument more"),
        ],
    )
    def test_mistakes(self, arguments, message, capsys):
        with pytest.raises(SystemExit) as raised:
            parse(*arguments)
        assert raised.value.code == 2
        assert message in capsys.readouterr().err

    def test_help(self, capsys):
        with pytest.raises(SystemExit):
            parse("--help")
        text = capsys.readouterr().out
        assert all(f"--{name}" in text for name in parse(*EMBED))
        assert max(map(len, text.splitlines())) < 80
