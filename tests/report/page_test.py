"""The page about a run: what it says, and that it stands alone."""

import html.parser
import json
import re

import numpy as np
import pytest

from simclr_keras import report
from simclr_keras import run_files
from tests.report import runs


class Page(html.parser.HTMLParser):
    """What a browser would make of a page."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.texts, self.open = [], [], []
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = runs.write(tmp_path_factory.mktemp("runs") / "whole")
    return Page(report.write(folder))


def part(page, heading, following):
    """The text between two headings."""
    return page.text.partition(heading)[2].partition(following)[0]


class TestWhole:
    def test_asks_for_nothing_from_elsewhere(self, page):
        for _, attributes in page.tags:
            for name in ("src", "href", "xlink:href", "srcset", "action"):
                address = attributes.get(name) or "data:"
                assert address.startswith(("data:", "#"))
        assert "@import" not in page.source
        for address in re.findall(r"url\((.*?)\)", page.source):
            assert address.startswith("#")

    def test_elements_nest_and_ids_are_there_once(self, page):
        assert page.open == []
        ids = [a["id"] for _, a in page.tags if "id" in a]
        assert len(ids) == len(set(ids)) > 8
        # What refers to an id finds it.
        used = re.findall(r"#([a-z0-9]+)[\")]", page.source)
        assert set(used) <= set(ids)

    def test_names_are_shown_and_not_obeyed(self, page):
        assert page.of("script") == []
        assert f"photos{runs.NASTY}" in page.text
        assert page.text.count(runs.NASTY) > 5

    def test_has_words_for_pictures(self, page):
        assert len(page.of("img")) == 4 + 6 + 3 * 8
        assert all(a["alt"] for a in page.of("img"))
        plots = page.of("svg")
        assert all(a["role"] == "img" and a["aria-label"] for a in plots)
        assert plots[0]["aria-label"] == (
            "Loss over training steps: loss from 3.8 at step 10 to 3 at step 50"
        )

    def test_colours_are_those_of_the_page(self, page):
        for svg in re.findall(r"<svg.*?</svg>", page.source, re.DOTALL):
            assert "var(--" in svg and "#0102" not in svg
            assert "<style" not in svg

    def test_headings_follow_each_other(self, page):
        levels = [int(t[1]) for t, _ in page.tags if re.fullmatch("h[1-6]", t)]
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
        assert page.of("html")[0]["lang"] == "en"

    def test_settings(self, page):
        unlike = part(page, "Unlike the recipe “digits”", "Versions")
        assert "--temperature 0.2 command line" in unlike
        assert "model_dir" not in page.text
        recipe = part(page, "Settings of the recipe", "Defaults")
        assert recipe.strip() == "train_batch_size 32"
        defaults = part(page, "Defaults", "run.flags")
        assert "use_blur false" in defaults and "labels_per_class 5" in defaults

    def test_state_and_costs(self, page):
        assert "Finished, step 50 of 50." in page.text
        costs = page.text.partition("Time and memory")[2]
        # 50 steps of 32 images at 160 images/s.
        assert "training 10 s" in costs
        assert "2 processes 2 min 30 s" in costs
        assert "most memory of a process 1.5 GiB" in costs
        assert "images per second, median 160" in costs
        assert "waiting for images, median 25.0%" in costs

    def test_results(self, page):
        table = part(page, "How good the embeddings are", "Protocols")
        assert "linear ± standard error over the test images 87.5" in table
        assert "5 labels per class ± standard deviation over 2 draws" in table
        assert "71.0 ± 2.0 –" in table.replace("\u2009", " ")
        assert "50.0*" in table and "stopped before it converged" in table
        assert "k is 20 instead of 200" in table

    def test_mistakes(self, page):
        text = page.text.partition("What is confused")[2]
        assert "on 24 test images, 87.5 % of them right" in text
        assert "cat 8 0 0" in text and "dog 0 0 8" in text

    def test_chance_level(self, page):
        assert f"chance level, {np.log(63):.2f}" in page.text


def without(tmp_path, *names):
    parts = set(runs.write(tmp_path / "all").iterdir())
    kept = {path.name for path in parts} - set(names)
    return Page(report.write(runs.write(tmp_path / "part", parts=kept)))


@pytest.mark.parametrize(
    ("name", "sentences"),
    [
        ("config.json", ["settings of this run are not known"]),
        ("metrics.jsonl", ["No metrics were recorded"]),
        ("results.json", ["Nothing was measured"]),
        ("samples.npz", ["kept no sample images"]),
        (
            "embeddings.npz",
            ["kept no embeddings", "kept no map", "There are no predictions"],
        ),
    ],
)
def test_a_missing_file_costs_a_sentence(name, sentences, tmp_path):
    text = without(tmp_path, name).text
    for sentence in sentences:
        assert sentence in text


def measured(tmp_path):
    """A run with what --eval_every and --mode=eval leave behind."""
    folder = runs.write(tmp_path / "run")
    lines = [
        {"step": 20, "loss": 3.6, "knn_top1": 0.75, "linear_top1": 0.8},
        {"step": 50, "loss": 3.0, "projection_alignment": 0.25}
        | {"projection_uniformity": -2.5, "knn_top1": 0.5},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    best = {"step": 20, "epochs": 2.0, "knn_top1": 0.75}
    run_files.write_json(folder / "best_encoder.json", best)
    row = {"encoder": {"knn": {"top1": 0.625}, "linear_probe": {"top1": 0.5}}}
    line = {"step": 30, "representations": row}
    (folder / "evaluations.jsonl").write_text(json.dumps(line) + "\n")
    return folder


def test_what_was_measured_in_between(tmp_path):
    page = Page(report.write(measured(tmp_path)))
    labels = [svg["aria-label"] for svg in page.of("svg")]
    assert (
        "Held-out training images over training steps: kNN from 75.0% at step "
        "20 to 50.0% at step 50; linear from 80.0% at step 20 to 80.0% at "
        "step 20"
    ) in labels
    assert any(
        label.startswith("Test images over") and "kNN from 62.5%" in label
        for label in labels
    )
    assert any("projection_alignment from 0.25" in label for label in labels)
    assert any("projection_uniformity from -2.5" in label for label in labels)
    assert "75.0 % by kNN after 2 epochs (step 20), kept as" in page.text


class TestOtherTrainings:
    def test_fine_tuned(self, tmp_path):
        folder = runs.write(tmp_path / "run", train_mode="finetune")
        run_files.write_json(
            folder / "results.json", runs.finetuned(0.8, 0.85, 0.9)
        )
        lines = [{"step": s, "loss": 1.0, "top1": 0.5} for s in (1, 2)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)
        page = Page(report.write(folder))
        assert "85.0 % fine-tuned, 10 labels per class, top-1" in (
            " ".join(f"{b} {a}" for a, b in figures(page))
        )
        assert "± standard deviation over 3 fits with other seeds" in page.text
        assert (
            "Percent of 24 test images, top-1 unless stated; trained on 30"
            in (page.text)
        )
        assert f"chance level, {np.log(3):.2f}" in page.text
        assert "NT-Xent" not in page.text
        assert page.of("svg")[1]["aria-label"].startswith(
            "Top-1 while training"
        )
        assert "The fine-tuned classifier, on 24 test images" in page.text

    def test_one_fit_on_a_share_of_the_labels(self, tmp_path):
        folder = runs.write(tmp_path / "run", train_mode="finetune")
        one = runs.finetuned(0.8, labels_per_class=None, label_fraction=0.01)
        run_files.write_json(folder / "results.json", one)
        text = Page(report.write(folder)).text
        assert "fine-tuned, 1 % of the labels" in text
        assert "± standard error over the test images" in text

    def test_distilled(self, tmp_path):
        folder = runs.write(tmp_path / "run", train_mode="distill")
        run_files.write_json(folder / "results.json", runs.distilled())
        page = Page(report.write(folder))
        assert ("classifier, top-1", "90.0 %") in figures(page)
        table = part(page, "How good the embeddings are", "Protocols")
        assert "student teacher" in table
        assert "90.0 ± 5.0 87.5 ± 5.0" in table.replace("\u2009", " ")
        assert "The student, on 24 test images" in page.text


def figures(page):
    """[(what, number)] at the head of the page."""
    head = page.source.partition('<dl class="figures">')[2].partition("</dl>")
    return re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", head[0])


def test_an_old_run_has_neither_pictures_nor_resources(tmp_path):
    new = ("samples.npz", "embeddings.npz", "resources.json")
    page = without(tmp_path, *new)
    assert "Finished, step 50." in page.text
    assert "training 10 s" in page.text


def test_unlabelled(tmp_path):
    folder = runs.write(tmp_path / "run", labelled=False)
    (folder / "results.json").unlink()
    page = Page(report.write(folder))
    assert "24 pretraining images in the plane" in page.text
    assert "There are no predictions" in page.text
    assert "the two views of each image" in page.text
    # The map shows the images.
    assert page.of("image")


def test_classes_too_many_for_a_matrix(tmp_path):
    folder = runs.write(tmp_path / "run")
    with np.load(folder / "embeddings.npz") as arrays:
        arrays = dict(arrays)
    counts = np.diag(np.full(30, 4))
    counts[3, 7] = 12
    arrays["confusion"] = counts
    del arrays["class_names"]
    run_files.write_npz(folder / "embeddings.npz", **arrays)
    (folder / "samples.npz").unlink()
    page = Page(report.write(folder))
    assert "30 classes are too many" in page.text
    assert "3 7 12 75 %" in page.text


class TestStopped:
    def test_says_why(self, tmp_path):
        kept = ("samples.npz",)
        folder = runs.write(tmp_path / "run", parts=kept)
        run_files.write_json(
            folder / "config.json", runs.config({}, finished=False)
        )
        ended = "the loss is nan at step 3"
        run_files.write_json(folder / "resources.json", runs.resources(ended))
        page = Page(report.write(folder))
        assert f"Stopped: {ended} (no step recorded)." in page.text

    def test_half_a_line_of_metrics(self, tmp_path):
        folder = runs.write(tmp_path / "run")
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 51, "lo')
        assert "step 50 of 50" in Page(report.write(folder)).text

    def test_a_loss_that_is_not_finite(self, tmp_path):
        folder = runs.write(tmp_path / "run")
        line = {"step": 51, "loss": float("nan"), "images_per_second": 0.0}
        with (folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        assert "step 51 of 50" in Page(report.write(folder)).text


class TestWrittenAtTheEnd:
    def test_of_a_run(self, tmp_path):
        folder = runs.write(tmp_path / "run", parts=["config.json"])
        with report.written_at_the_end(folder, 9):
            (folder / "metrics.jsonl").write_text(runs.metrics())
        kept = json.loads((folder / "resources.json").read_text())
        assert kept["total_steps"] == 9
        (process,) = kept["processes"]
        assert process["ended"] is None and process["seconds"] < 60
        assert 2**20 < process["peak_memory_bytes"] < 2**40
        assert "step 50 of 9" in Page(folder / "report.html").text

    def test_of_a_run_that_fails(self, tmp_path):
        folder = runs.write(tmp_path / "run", parts=["samples.npz"])
        config = runs.config({}, finished=False)
        run_files.write_json(folder / "config.json", config)
        with pytest.raises(SystemExit) as failure:
            with report.written_at_the_end(folder, 9):
                try:
                    raise RuntimeError("no <luck>\nat all")
                except RuntimeError as error:
                    raise SystemExit(143) from error
        assert failure.value.code == 143
        text = Page(folder / "report.html").text
        assert "Stopped: no <luck> (no step recorded)" in text

    def test_adds_up_processes(self, tmp_path):
        folder = runs.write(tmp_path / "run")
        with report.written_at_the_end(folder, 50):
            pass
        assert "3 processes" in Page(folder / "report.html").text

    def test_a_damaged_file_does_not_change_how_a_run_ends(
        self, tmp_path, capsys
    ):
        folder = runs.write(tmp_path / "run")
        (folder / "results.json").write_text("{")
        with report.written_at_the_end(folder, 50):
            pass
        with pytest.raises(KeyError):
            with report.written_at_the_end(folder, 50):
                raise KeyError("x")
        said = capsys.readouterr().err
        assert said.count("report.html is not written") == 2
        assert "results.json" in said

    def test_nothing_of_a_run_that_did_not_begin_or_is_interrupted(
        self, tmp_path
    ):
        folder = runs.write(tmp_path / "run", parts=["config.json"])
        with report.written_at_the_end(folder, 9):
            pass
        with report.written_at_the_end(None, 9):
            pass
        (folder / "metrics.jsonl").write_text(runs.metrics())
        with pytest.raises(KeyboardInterrupt):
            with report.written_at_the_end(folder, 9):
                raise KeyboardInterrupt
        names = {path.name for path in folder.iterdir()}
        assert names == {"config.json", "metrics.jsonl"}
