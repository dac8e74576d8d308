import json

import pytest

from simclr_keras.export import contract
from simclr_keras.export import versions

FIELD = {"dtype": "float32", "shape": ["B", 7]}
METADATA = {
    "signatures": {
        "embed": {"inputs": {"images": FIELD}, "outputs": {"embedding": FIELD}},
        "classify": {"inputs": {"images": FIELD}, "outputs": {"scores": FIELD}},
    },
    "class_names": ["cat", "dog"],
}


@pytest.fixture
def served(tmp_path):
    """A folder with one version that clients use."""
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / versions.METADATA).write_text(json.dumps(METADATA))
    return tmp_path


def changed(change):
    # A field of its own everywhere.
    metadata = json.loads(json.dumps(METADATA))
    change(metadata["signatures"], metadata)
    return metadata


def another_width(signatures, _):
    shape = ["B", 8]
    signatures["embed"]["outputs"]["embedding"]["shape"] = shape


def no_output(signatures, _):
    signatures["classify"]["outputs"] = {}


def no_signature(signatures, _):
    del signatures["classify"]


def another_input(signatures, _):
    signatures["embed"]["inputs"]["images"]["dtype"] = "uint8"


def other_classes(_, metadata):
    metadata["class_names"] = ["dog", "cat"]


def more(signatures, _):
    signatures["embed"]["outputs"]["projection"] = FIELD
    signatures["other"] = signatures["embed"]


class TestCheck:
    def test_the_first_version(self, tmp_path):
        contract.check(tmp_path / "none" / "1", METADATA)

    def test_the_same_and_more(self, served):
        contract.check(served / "2", METADATA)
        contract.check(served / "2", changed(more))

    @pytest.mark.parametrize(
        "change,message",
        [
            (another_width, r"embedding float32 \[B, 7\] in embed.*\[B, 8\]"),
            (no_output, "the new one has no scores in classify"),
            (no_signature, "the new one has no images in classify"),
            (another_input, r"images uint8 \[B, 7\] in embed"),
            (other_classes, "its classes are not those of version 1"),
        ],
    )
    def test_what_clients_would_miss(self, served, change, message):
        with pytest.raises(ValueError, match=f"`path` must not.*{message}"):
            contract.check(served / "2", changed(change))

    def test_a_version_that_would_not_be_served(self, served):
        with pytest.raises(ValueError, match="version 1 is higher"):
            contract.check(served / "0", METADATA)

    @pytest.mark.parametrize("text", [None, "no JSON", "[]", "{}"])
    def test_another_kind_of_model(self, served, text):
        (served / "12").mkdir()
        if text is not None:
            (served / "12" / versions.METADATA).write_text(text)
        with pytest.raises(ValueError, match="12 is another kind of model"):
            contract.check(served / "13", METADATA)


class TestCheckLocation:
    def test_inside_a_saved_model(self, served):
        (served / "1" / "saved_model.pb").touch()
        contract.check_location(served / "2")
        for path in ("1/5", "1/deeper/5"):
            with pytest.raises(ValueError, match="must not lie inside"):
                contract.check_location(served / path)
