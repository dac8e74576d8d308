from simclr_keras.export import card

FIELD = {"dtype": "float32", "shape": ["B", 7]}
METADATA = {
    "image_size": [32, 48],
    "crop_proportion": 0.875,
    "max_pixels": 2**26,
    "precision": "bfloat16",
    "widths": {"features": 7},
    "class_names": None,
    "signatures": {
        "embed": {"inputs": {"images": FIELD}, "outputs": {"embedding": FIELD}}
    },
    "versions": {"tensorflow": "2.21.0", "git_revision": None},
    "provenance": {},
}
PROVENANCE = {
    "dataset": {"name": "digits", "num_examples": 1437},
    "recipe": "digits",
    "settings": {"temperature": 0.2},
    "environment": {"git_revision": "7a7aec0"},
    "results": {
        "linear_probe": {
            "protocol": "multinomial",
            "top1": 0.9667,
            "top5": 1.0,
            "top1_standard_error": 0.0102,
            "num_examples": 360,
        },
        "knn": {"top1": 0.5, "protocol": "cosine", "num_examples": 360},
    },
}


class TestCard:
    def test_contract_of_an_unknown_encoder(self):
        text = card.card(METADATA)
        assert text.startswith("# Image encoder: data set not recorded\n")
        assert "Embeddings of 7 numbers, computed in bfloat16." in text
        assert "embed: images float32 [B, 7]" in text
        assert "87.5% of the side that limits it" in text
        assert "resized to\n32 x 48 pixels" in text
        assert "more than 67\nmillion pixels" in text
        assert "- tensorflow: 2.21.0" in text
        assert "None" not in text
        for heading in ("## Data", "## Training", "## Measured"):
            assert heading not in text

    def test_everything_known(self):
        classes = {"features": 7, "classes": 2}
        known = {
            "widths": classes,
            "class_names": ["cat", "dog"],
            "provenance": PROVENANCE,
        }
        text = card.card(METADATA | known)
        assert text.startswith("# Image encoder: digits\n")
        assert "probabilities of 2 classes (cat, dog)" in text
        assert "- num_examples: 1437" in text
        assert "- temperature: 0.2" in text
        assert (
            "| linear_probe | 96.7 % ± 1.0 | 100.0 % | 360 | multinomial |"
            in text
        )
        assert "| knn | 50.0 % | – | 360 | cosine |" in text
        assert "- git_revision: 7a7aec0" in text
