import io
import json
import os
import subprocess
import sys

import grpc
import numpy as np
import pytest

from simclr_keras.export import Client
from simclr_keras.export import client_command
from tests.export import small_model

IMAGES = small_model.pixels(4)


@pytest.fixture
def folder(tmp_path):
    """Four images, one of them in a folder of its own, and a bad file."""
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    for name, image in zip(("a", "b", "c", "more/d"), IMAGES, strict=True):
        (folder / f"{name}.png").write_bytes(small_model.file(image))
    (folder / "bad.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("not looked at")
    (folder / ".hidden.png").write_text("nor this")
    return folder


def ask(server, *arguments):
    client_command.main(
        ["simclr-client", f"--server={server.address}", *map(str, arguments)]
    )


def ended(code, server, *arguments):
    with pytest.raises(SystemExit) as raised:
        ask(server, *arguments)
    assert raised.value.code == code


class TestMain:
    def test_lines_of_json(self, server, rest, folder, capsysbinary):
        for interface in (server, rest):
            ask(interface, f"--images={folder}", "--batch_size=3")
            out, err = capsysbinary.readouterr()
            lines = [json.loads(line) for line in out.splitlines()]
            names = ("a.png", "b.png", "bad.jpg", "c.png", "more/d.png")
            assert [x["path"] for x in lines] == [
                str(folder / name) for name in names
            ]
            bad = lines.pop(2)
            assert bad == {
                "path": str(folder / "bad.jpg"),
                "valid": False,
                "error": "no image that the server can read",
            }
            assert all(line["valid"] for line in lines)
            expected = Client(server.address).embed(IMAGES)["embedding"]
            actual = [line["embedding"] for line in lines]
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
            assert len(lines[0]["classes"]) == 5
            assert b"4 images answered\n1 not valid:" in err
            assert b"bad.jpg: no image that" in err

    def test_arrays(self, server, folder, tmp_path, capsys):
        output = tmp_path / "new" / "answers.npz"
        ask(server, f"--images={folder}", f"--output={output}")
        found = dict(np.load(output))
        assert found["paths"][2] == str(folder / "bad.jpg")
        assert found["errors"].tolist()[1:3] == [
            "",
            "no image that the server can read",
        ]
        assert found["valid"].tolist() == [True, True, False, True, True]
        assert found["embeddings"].shape == (5, small_model.FEATURES)
        assert found["classes"].dtype == np.int64
        assert [x.name for x in output.parent.iterdir()] == [output.name]
        captured = capsys.readouterr()
        assert captured.out == ""
        assert f"4 images answered in {output}" in captured.err

    def test_a_table_of_names_from_standard_input(
        self, server, folder, monkeypatch, capsysbinary
    ):
        names = f"{folder / 'a.png'}\n{folder / 'none.png'}\n"
        monkeypatch.setattr(sys, "stdin", io.StringIO(names))
        ask(server, "--images=-", "--format=table")
        good, bad = capsysbinary.readouterr().out.decode().splitlines()
        assert good.startswith(f"{folder / 'a.png'}  class ")
        assert good.endswith(" ...]")
        assert bad == (
            f"{folder / 'none.png'}  not valid: No such file or directory"
        )

    def test_odd_names(self, server, folder, capsysbinary):
        path = folder / os.fsdecode(b"\xe4\n.png")
        (folder / "a.png").rename(path)
        ask(server, f"--images={path}", "--format=table")
        (line,) = capsysbinary.readouterr().out.splitlines()
        assert b"\\udce4\\n.png  class" in line


class TestFailures:
    def test_nobody_there(self, folder, server, tmp_path, capsys):
        output = tmp_path / "answers.jsonl"
        output.write_text("from before")
        ended(
            1,
            server,
            "--server=localhost:9",
            f"--images={folder}",
            "--retries=0",
            f"--output={output}",
        )
        assert "no answer from localhost:9" in capsys.readouterr().err
        assert output.read_text() == "from before"
        assert sorted(x.name for x in tmp_path.iterdir()) == [
            "answers.jsonl",
            "images",
        ]

    def test_half_way(self, server, folder, capsysbinary):
        answers = iter([[], [grpc.StatusCode.INTERNAL]])
        stream = Client.stream_files

        def faulty(client, paths):
            for batch in stream(client, paths):
                server.faults[:] = next(answers, [])
                yield batch

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Client, "stream_files", faulty)
            ended(1, server, f"--images={folder}", "--batch_size=1")
        out, err = capsysbinary.readouterr()
        assert len(out.splitlines()) == 2
        assert b"INTERNAL: a fault on purpose (2 images are done)" in err

    @pytest.mark.parametrize(
        "arguments,message",
        [
            (["--images={empty}"], "--images: there are no images"),
            (
                ["--images={empty}/a.png", "--server=localhost"],
                "`--server` must be host:port",
            ),
        ],
    )
    def test_mistakes(self, server, tmp_path, capsys, arguments, message):
        ended(2, server, *(x.format(empty=tmp_path) for x in arguments))
        assert message.replace("`", "") in capsys.readouterr().err

    def test_a_missing_server_is_told_without_tensorflow(self, folder):
        program = (
            "import sys\n"
            "from simclr_keras.export import client_command\n"
            "try:\n"
            "    client_command.main(['simclr-client', *sys.argv[1:]])\n"
            "except SystemExit as end:\n"
            "    loaded = {'tensorflow', 'keras'} & set(sys.modules)\n"
            "    sys.exit(f'imported {loaded}' if loaded else end.code)\n"
        )
        command = [sys.executable, "-c", program, f"--images={folder}"]
        result = subprocess.run(
            [*command, "--server=http://localhost:9", "--retries=0"],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 1, result.stderr
        assert "Is the server running" in result.stderr
