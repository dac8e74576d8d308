"""Which checkpoint a path means."""

import pytest

from simclr_keras.conversion import files


def checkpoints(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for part in ("index", "data-00000-of-00001"):
            (folder / f"{name}.{part}").touch()
    return folder


class TestSearch:
    def test_a_prefix(self, tmp_path):
        checkpoints(tmp_path, "ckpt-5", "ckpt-7")
        prefix = tmp_path / "ckpt-5"
        assert files.search(prefix) == (prefix, None)
        assert files.search(str(prefix)) == (prefix, None)

    def test_the_highest_step_of_a_folder(self, tmp_path):
        checkpoints(tmp_path, "ckpt-9", "ckpt-10", "other")
        assert files.search(tmp_path) == (tmp_path / "ckpt-10", None)

    @pytest.mark.parametrize("folder", ["", "gs://bucket/of/google/"])
    def test_the_one_that_the_folder_names(self, tmp_path, folder):
        checkpoints(tmp_path, "ckpt-9", "ckpt-10")
        state = f'model_checkpoint_path: "{folder}ckpt-9"\n'
        (tmp_path / "checkpoint").write_text(state + 'all_model: "ckpt-10"\n')
        assert files.search(tmp_path) == (tmp_path / "ckpt-9", None)

    def test_a_state_that_names_what_is_gone(self, tmp_path):
        checkpoints(tmp_path, "ckpt-9")
        state = 'model_checkpoint_path: "ckpt-8"\n'
        (tmp_path / "checkpoint").write_text(state)
        assert files.search(tmp_path) == (tmp_path / "ckpt-9", None)

    def test_a_saved_model(self, tmp_path):
        checkpoints(tmp_path / "variables", "variables")
        (tmp_path / "saved_model.pb").touch()
        assert files.search(tmp_path) == (
            tmp_path / "variables" / "variables",
            None,
        )


class TestMistakes:
    def problem(self, path):
        prefix, problem = files.search(path)
        assert prefix is None
        return problem

    def test_an_empty_folder(self, tmp_path):
        assert self.problem(tmp_path) == "where there are no weights"

    @pytest.mark.parametrize("part", ["index", "data-00000-of-00001", "meta"])
    def test_one_file_of_a_checkpoint(self, tmp_path, part):
        checkpoints(tmp_path, "model.ckpt-5")
        problem = self.problem(tmp_path / f"model.ckpt-5.{part}")
        assert problem.endswith(f"common name, {tmp_path / 'model.ckpt-5'}")

    def test_other_paths(self, tmp_path):
        (tmp_path / "notes.txt").touch()
        assert "no checkpoint" in self.problem(tmp_path / "notes.txt")
        assert "does not exist" in self.problem(tmp_path / "nowhere")
        assert "copied" in self.problem("gs://simclr-checkpoints/simclrv2")

    def test_half_a_checkpoint(self, tmp_path):
        checkpoints(tmp_path, "ckpt-5")
        (tmp_path / "ckpt-5.data-00000-of-00001").unlink()
        message = "where ckpt-5.data-00000-of-00001 is missing"
        assert self.problem(tmp_path) == message
        assert self.problem(tmp_path / "ckpt-5") == message

    def test_half_a_saved_model(self, tmp_path):
        (tmp_path / "saved_model.pb").touch()
        assert "without variables" in self.problem(tmp_path)

    def test_a_folder_above(self, tmp_path):
        inside = tmp_path / "saved_model" / "250228"
        inside.mkdir(parents=True)
        (inside / "saved_model.pb").touch()
        assert self.problem(tmp_path).endswith(f"a SavedModel in {inside}")

    def test_a_run_of_ours(self, tmp_path):
        (tmp_path / "encoder.keras").touch()
        assert "a run of simclr_keras" in self.problem(tmp_path)
