"""`simclr-report`: pages, comparisons, tables, and answers to mistakes."""

import pathlib
import subprocess
import sys

import pytest

from simclr_keras import run_files
from simclr_keras.report import __main__ as program
from simclr_keras.report import documents
from tests.report import runs
from tests.report.page_test import Page

ROOT = pathlib.Path(__file__).parent.parent.parent
TABLE = """\
| | linear | linear top-5 | kNN (k = 20) | linear, 5 labels per class |
| --- | ---: | ---: | ---: | ---: |
| encoder | 87.5 | 96.0 | 75.0 | 71.0 ± 2.0 |
| raw pixels | 50.0\\* | 90.0\\* | 25.0 | – |

Percent of 24 test images, top-1 unless stated; trained on 60. \
± is the standard deviation over 2 draws of labelled images, not over \
training runs. k is 20 instead of 200 \
*: the fit stopped before it converged."""


@pytest.fixture
def two(tmp_path):
    """Folders of two runs that differ in their temperature."""
    return [
        str(runs.write(tmp_path / "a")),
        str(runs.write(tmp_path / "b<i>", temperature=0.5)),
    ]


class TestPages:
    def test_of_one_run(self, two, tmp_path, capsys):
        program.main(two[:1])
        assert capsys.readouterr().out == f"{two[0]}/report.html\n"
        assert "SimCLR run a" in Page(tmp_path / "a" / "report.html").text
        program.main([two[0], f"--output={tmp_path / 'here.html'}"])
        assert (tmp_path / "here.html").is_file()

    def test_of_several_runs(self, two, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        program.main(two)
        assert capsys.readouterr().out == "comparison.html\n"
        page = Page(tmp_path / "comparison.html")
        assert "--temperature 0.2 0.5" in page.text
        assert "--train_batch_size" not in page.text
        # What is the same for both is there once.
        assert page.text.count("raw pixels") == 1
        labels = [svg["aria-label"] for svg in page.of("svg")]
        assert "; b<i> from 3.8 at step 10" in labels[0]
        assert "not comparable" not in page.text
        assert page.of("i") == [] and page.open == []

    def test_says_where_data_differ(self, two, tmp_path):
        config = runs.config({})
        config["dataset"]["fingerprint"] = "another"
        run_files.write_json(tmp_path / "a" / "config.json", config)
        output = tmp_path / "c.html"
        program.main([*two, f"--output={output}"])
        assert "accuracies are not comparable" in Page(output).text

    def test_runs_without_anything_to_compare(self, tmp_path):
        folders = [
            str(runs.write(tmp_path / name, parts=["config.json"]))
            for name in ("x/run", "y/run")
        ]
        output = tmp_path / "c.html"
        program.main([*folders, f"--output={output}"])
        text = Page(output).text
        assert "x/run" in text and "y/run" in text
        assert "Nothing was measured in any of these runs" in text


class TestTables:
    def test_of_one_run(self, two, capsys):
        program.main([two[0], "--markdown"])
        assert capsys.readouterr().out == TABLE + "\n"

    def test_of_several_runs_has_what_differs(self, two, capsys):
        program.main([*two, "--markdown"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("| | `--temperature` | linear |")
        assert lines[2].startswith("| a | 0.2 | 87.5 |")
        assert lines[3].startswith("| b<i> | 0.5 | 87.5 |")
        assert lines[4].startswith("| raw pixels | | 50.0")

    def test_of_runs_of_different_kinds(self, two, tmp_path, capsys):
        for name, results in (
            ("few", runs.finetuned(0.8, 0.9)),
            ("small", runs.distilled()),
        ):
            folder = runs.write(tmp_path / name, train_mode="finetune")
            run_files.write_json(folder / "results.json", results)
            two.append(str(folder))
        program.main([*two, "--markdown"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == (
            "| | `--temperature` | linear | linear top-5 | kNN (k = 20) "
            "| fine-tuned, 10 labels per class | classifier "
            "| linear, 5 labels per class |"
        )
        rows = {line.split(" |")[0]: line for line in lines[2:-2]}
        made, baselines = (
            ["a", "b<i>", "few", "small"],
            ["raw pixels", "teacher"],
        )
        assert list(rows) == [f"| {name}" for name in (*made, *baselines)]
        assert "| 85.0 ± 3.0 |" in rows["| few"]
        assert "| 90.0 |" in rows["| small"] and "87.5" in rows["| teacher"]
        assert "a, b<i>: ± is the standard deviation over 2 draws" in lines[-1]
        assert "few: ± is the standard deviation over 2 fits" in lines[-1]
        assert "small: Percent of 24 test images" in lines[-1]

    def test_means_over_training_runs(self, tmp_path, capsys):
        knn = {"top1": 0.5, "top1_std": 0.01, "top1_draws": [0.49, 0.51]}
        rows = {"recipe, h": {"knn": {**knn, "pretraining_seeds": [0, 1]}}}
        run_files.write_json(
            tmp_path / "results.json", {"representations": rows}
        )
        program.main([str(tmp_path), "--markdown"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[2] == "| recipe, h | 50.0 ± 1.0 |"
        assert lines[-1].endswith(
            "± is the standard deviation over 2 training runs with other seeds."
        )

    def test_neighbours_that_differ_are_not_in_a_heading(
        self, two, tmp_path, capsys
    ):
        other = {
            **runs.RESULTS,
            "representations": {"encoder": {"knn": {"k": 5, "top1": 0.5}}},
        }
        run_files.write_json(tmp_path / "a" / "results.json", other)
        program.main([*two, "--markdown"])
        assert "| kNN |" in capsys.readouterr().out.splitlines()[0]

    def test_in_a_document(self, two, tmp_path):
        document = tmp_path / "doc.md"
        document.write_text(
            "# Title\n\n<!-- results of a -->\nold\n<!-- end of results -->\n"
        )
        for _ in range(2):
            program.main(["--update", str(document)])
            assert document.read_text() == (
                f"# Title\n\n<!-- results of a -->\n\n{TABLE}\n\n"
                "<!-- end of results -->\n"
            )

    @pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
    def test_in_the_documentation_are_those_of_the_results(self, name):
        path = ROOT / name
        assert documents.updated(path) == path.read_text(encoding="utf-8"), (
            "`make tables` writes them anew"
        )


class TestMistakes:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("config.json", b"{"),
            ("config.json", b"[1]"),
            ("results.json", b"{}"),
            ("resources.json", b"\xff"),
            ("metrics.jsonl", b'{"step": 1}\nnonsense\n'),
            ("metrics.jsonl", b'{"loss": 1}\n'),
            ("samples.npz", b"PK\x03\x04 cut off"),
            ("embeddings.npz", b""),
        ],
    )
    def test_damaged_files_are_named(self, name, content, tmp_path, capsys):
        folder = runs.write(tmp_path / "run")
        (folder / name).write_bytes(content)
        with pytest.raises(SystemExit) as exit:
            program.main([str(folder)])
        assert exit.value.code == 2
        assert f"{folder / name}: damaged" in capsys.readouterr().err
        assert not (folder / "report.html").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["no/such/run"], "no run there"),
            ([], "name one or more runs"),
            (["--update", "no.md"], "no.md"),
            (["run", "--markdown", "--output=x"], "not allowed with"),
        ],
    )
    def test_short_answer_with_code_2(self, arguments, message, capsys):
        with pytest.raises(SystemExit) as exit:
            program.main(arguments)
        assert exit.value.code == 2
        assert message in capsys.readouterr().err

    def test_nothing_measured(self, tmp_path, capsys):
        folder = runs.write(tmp_path / "run", parts=["config.json"])
        with pytest.raises(SystemExit):
            program.main([str(folder), "--markdown"])
        assert "nothing was measured in" in capsys.readouterr().err


def test_pages_need_no_tensorflow():
    check = (
        "import sys, simclr_keras.report.__main__\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
