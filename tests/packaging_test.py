"""The wheel, built and installed elsewhere. Minutes: `pytest -m slow`."""

import pathlib
import subprocess
import sys
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = ["-m", "build", "--wheel", "--outdir", folder, ROOT]
    subprocess.run([sys.executable, *command], check=True)
    return next(folder.glob("*.whl"))


def test_one_top_level_name_with_everything_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        name.split("/")[0] for name in names if ".dist-info" not in name
    } == {"simclr_keras"}
    for needed in (
        "simclr_keras/train.py",
        "simclr_keras/flags/model.py",
        "simclr_keras/flags/experiments/lr_too_high.flags",
        "simclr_keras/export/__main__.py",
        "simclr_keras/data/embedded.py",
        "simclr_keras/evaluation/knn.py",
        "simclr_keras/report/run.html.j2",
        "simclr_keras/report/style.css",
    ):
        assert needed in names


def test_runs_from_a_fresh_environment(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", wheel], check=True)

    def run(*command):
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    where = run(python, "-c", "import simclr_keras as s; print(s.__file__)")
    assert str(tmp_path) in where
    run(python, "-c", "import simclr_keras; simclr_keras.SimCLR")
    train = tmp_path / "venv" / "bin" / "simclr-train"
    assert "--train_batch_size" in run(train, "--help")
    run(
        train,
        "--train_steps=2",
        "--width_multiplier=0.125",
        "--image_size=8",
        "--model_dir=run",
    )
    export = tmp_path / "venv" / "bin" / "simclr-export"
    run(export, "--model_dir=run", "--output=served")
    assert (tmp_path / "served" / "1" / "saved_model.pb").is_file()
    client = tmp_path / "venv" / "bin" / "simclr-client"
    assert "--server" in run(client, "--help")
    report = tmp_path / "venv" / "bin" / "simclr-report"
    assert "report.html" in run(report, "run")
