import os

import pytest

from simclr_keras.data import paths

NAMES = [b"b.png", b"", b"a/\xff.png", b"c.png"]


class TestPaths:
    def test_is_a_sequence_of_whole_paths(self):
        packed = paths.Paths("/x", NAMES)
        assert len(packed) == 4
        assert list(packed) == [f"/x/{os.fsdecode(name)}" for name in NAMES]
        assert packed[-1] == "/x/c.png"
        with pytest.raises(IndexError):
            packed[4]

    def test_without_a_folder(self):
        assert paths.Paths("", [b"/y/a.png"])[0] == "/y/a.png"

    def test_take_shares_the_characters(self):
        packed = paths.Paths("/x", NAMES)
        taken = packed.take([3, 0])
        assert list(taken.names()) == [b"c.png", b"b.png"]
        assert taken.blob is packed.blob
        assert list(taken.take([1])) == ["/x/b.png"]

    def test_nothing(self):
        assert list(paths.Paths("/x", ())) == []
