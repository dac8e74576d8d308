import json
import stat

import pytest

from simclr_keras.export import versions


def folder_of(tmp_path, *names):
    folder = tmp_path / "saved_model"
    for name in names:
        (folder / name).mkdir(parents=True)
    return folder


def exported(tmp_path, *names):
    folder = folder_of(tmp_path, *names)
    for name in names:
        (folder / name / versions.METADATA).touch()
    return folder


class TestNextVersion:
    def test_follows_the_highest(self, tmp_path):
        folder = folder_of(tmp_path, "1", "9", "10", "notes", ".11-tmp", "012")
        assert versions.next_version(folder) == folder / "11"

    @pytest.mark.parametrize("names", [(), ("notes",)])
    def test_starts_at_one(self, tmp_path, names):
        folder = folder_of(tmp_path, *names)
        assert versions.next_version(folder) == folder / "1"


class TestHighest:
    def test_is_a_number(self, tmp_path):
        folder = folder_of(tmp_path, "9", "10", "notes")
        assert versions.highest(folder) == folder / "10"

    def test_none(self, tmp_path):
        assert versions.highest(tmp_path) is None
        assert versions.highest(tmp_path / "missing") is None


class TestCheckNew:
    @pytest.mark.parametrize("name", ["latest", "-1", "01", "1.0", "9" * 19])
    def test_wants_an_integer(self, tmp_path, name):
        with pytest.raises(ValueError, match="integer version"):
            versions.check_new(tmp_path / name)

    def test_names_the_next_free_one(self, tmp_path):
        folder = folder_of(tmp_path, "1", "2")
        assert versions.check_new(folder / "3") == folder / "3"
        with pytest.raises(ValueError, match=f"{folder / '3'}"):
            versions.check_new(folder / "1")


class TestNewVersion:
    def test_appears_at_the_end(self, tmp_path):
        path = tmp_path / "deep" / "saved_model" / "4"
        with versions.new_version(path) as content:
            (content / "file").write_text("text")
            assert not path.exists()
            # A server takes any folder that is an integer.
            names = [p.name for p in path.parent.iterdir()]
            assert not any(name.isdigit() for name in names)
        assert (path / "file").read_text() == "text"
        assert list(path.parent.iterdir()) == [path]

    def test_can_be_read_by_other_users(self, tmp_path):
        (tmp_path / "plain").mkdir()
        with versions.new_version(tmp_path / "1"):
            pass
        modes = [
            stat.S_IMODE((tmp_path / name).stat().st_mode)
            for name in ("1", "plain")
        ]
        assert modes[0] == modes[1]

    def test_leaves_nothing_after_an_error(self, tmp_path):
        with pytest.raises(OSError, match="disk full"):
            with versions.new_version(tmp_path / "1") as content:
                (content / "file").write_text("half")
                raise OSError("disk full")
        assert list(tmp_path.iterdir()) == []

    def test_does_not_replace_one_that_appeared(self, tmp_path):
        with pytest.raises(ValueError, match="never overwritten"):
            with versions.new_version(tmp_path / "1"):
                (tmp_path / "1").mkdir()
        assert list((tmp_path / "1").iterdir()) == []


class TestPruneVersions:
    def test_keeps_the_highest(self, tmp_path):
        folder = exported(tmp_path, "1", "2", "10", "notes")
        deleted = versions.prune_versions(folder, 2)
        assert deleted == [folder / "1"]
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["10", "2", "notes"]

    @pytest.mark.parametrize("keep", [0, 3, 9])
    def test_keeps_all(self, tmp_path, keep):
        folder = exported(tmp_path, "1", "2", "3")
        assert versions.prune_versions(folder, keep) == []
        assert len(list(folder.iterdir())) == 3

    def test_keeps_what_others_wrote(self, tmp_path):
        folder = folder_of(tmp_path, "1", "2")
        assert versions.prune_versions(folder, 1) == []

    def test_refuses_negative_numbers(self, tmp_path):
        with pytest.raises(ValueError, match="`keep` must be at least 0"):
            versions.prune_versions(tmp_path, -1)


class TestDescribe:
    def test_names_inputs_and_outputs(self, tmp_path):
        field = {"dtype": "float32", "shape": ["B", 7]}
        signature = {"inputs": {"images": field}, "outputs": {"z": field}}
        text = json.dumps({"signatures": {"embed": signature}})
        (tmp_path / versions.METADATA).write_text(text)
        assert versions.describe(tmp_path).splitlines() == [
            "  embed: images float32 [B, 7]",
            "      -> z float32 [B, 7]",
        ]
