import json

from simclr_keras.export import provenance

CONFIG = {
    "recipe": "digits",
    "flags": {"seed": 1, "resnet_depth": 18, "model_dir": "/home/me/run"},
    "origins": {
        "seed": "default",
        "resnet_depth": "recipe",
        "model_dir": "command line",
    },
    "dataset": {"name": "digits"},
    "environment": {"git_revision": "abc"},
}
RESULTS = {"representations": {"encoder": {"knn": {"top1": 0.5}}, "raw": {}}}


class TestOfRun:
    def test_says_what_the_run_says(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps(CONFIG))
        (tmp_path / "results.json").write_text(json.dumps(RESULTS))
        assert provenance.of_run(tmp_path) == {
            "dataset": {"name": "digits"},
            "recipe": "digits",
            "settings": {"resnet_depth": 18},
            "environment": {"git_revision": "abc"},
            "results": {"knn": {"top1": 0.5}},
        }

    def test_results_are_those_of_what_is_exported(self):
        rows = {"student": {"distill": {"top1": 0.8}}, "teacher": {}}
        found = provenance.from_config({}, {"representations": rows})
        assert found == {"results": {"distill": {"top1": 0.8}}}

    def test_nothing_is_known(self, tmp_path):
        assert provenance.of_run(tmp_path / "nowhere") == {}
        (tmp_path / "config.json").write_text("damaged")
        (tmp_path / "results.json").write_text("[]")
        assert provenance.of_run(tmp_path) == {}
