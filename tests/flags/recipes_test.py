"""What a recipe fills in, and that it fits the flags given beside it."""

import math

import pytest

from simclr_keras.flags import catalogue
from simclr_keras.flags import recipes


def _filled(dataset, image_size=None, num_examples=None, **given):
    values = catalogue.values() | {"dataset": dataset} | given
    _, filled = recipes.settings(
        values,
        {"dataset", *given},
        image_size=image_size,
        num_examples=num_examples,
    )
    assert filled.keys() <= recipes.FILLED
    assert filled.keys().isdisjoint(given)
    return values | filled


def _peak(values):
    batch_size = values["train_batch_size"]
    factor = {"linear": batch_size / 256, "sqrt": math.sqrt(batch_size)}
    return values["learning_rate"] * factor[values["learning_rate_scaling"]]


class TestRecipe:
    @pytest.mark.parametrize(
        ("dataset", "image_size", "name"),
        [
            ("digits", 8, "digits"),
            ("cifar10", 32, "cifar10"),
            ("cifar10:3.0.2", 32, "cifar10"),
            ("imagenet2012_subset/1pct", 224, "imagenet2012_subset"),
            ("fashion_mnist", 28, "small images"),
            ("./icons", 32, "small images"),
            ("./icons", 48, "large images"),
        ],
    )
    def test_is_found_by_name_or_size(self, dataset, image_size, name):
        assert recipes.recipe(dataset, image_size).name == name

    def test_cifar_is_that_of_googles_readme(self):
        values = _filled("cifar10", 32, 50_000)
        for name, value in {
            "image_size": 32,
            "resnet_depth": 18,
            "width_multiplier": 1.0,
            "stem": "cifar",
            "train_batch_size": 512,
            "learning_rate": 1.0,
            "learning_rate_scaling": "linear",
            "weight_decay": 1e-4,
            "temperature": 0.5,
            "use_blur": False,
            "color_jitter_strength": 0.5,
            "warmup_epochs": 10.0,
        }.items():
            assert values[name] == value

    def test_digits_train_for_400_steps(self):
        values = _filled("digits", 8, 1437)
        per_epoch = 1437 // values["train_batch_size"]
        assert values["train_epochs"] * per_epoch == 400
        assert values["model_dir"] == "runs/digits"


class TestSettings:
    @pytest.mark.parametrize("dataset", [*recipes.RECIPES, "photos"])
    @pytest.mark.parametrize("image_size", [16, 32, 33, 224])
    def test_small_images_get_what_suits_them(self, dataset, image_size):
        values = _filled(dataset, image_size=image_size)
        values = _filled(dataset, values["image_size"])
        small = values["image_size"] <= 32
        assert values["stem"] == ("cifar" if small else "imagenet")
        assert values["use_blur"] is not small
        assert values["color_jitter_strength"] == (0.5 if small else 1.0)

    @pytest.mark.parametrize("dataset", ["cifar10", "photos"])
    def test_given_size_decides_over_the_recipes(self, dataset):
        _, filled = recipes.settings(
            catalogue.values() | {"dataset": dataset, "image_size": 224},
            {"dataset", "image_size"},
            image_size=32,
        )
        assert filled["stem"] == "imagenet"
        assert filled["use_blur"] is True
        assert filled["color_jitter_strength"] == 1.0
        assert "image_size" not in filled

    @pytest.mark.parametrize(
        ("native", "chosen"),
        [(5, 8), (28, 28), (32, 32), (33, 32), (70, 64), (500, 224)],
    )
    def test_native_size(self, native, chosen):
        assert _filled("photos", native)["image_size"] == chosen

    def test_unknown_size_is_that_of_imagenet(self):
        assert _filled("photos")["image_size"] == 224

    @pytest.mark.parametrize("dataset", [*recipes.RECIPES, "photos"])
    @pytest.mark.parametrize("num_examples", [2, 100, 5_000, 10**6])
    @pytest.mark.parametrize(
        "given", [{}, {"train_epochs": 3}, {"train_steps": 50}]
    )
    def test_batch_and_warm_up_fit_the_data(self, dataset, num_examples, given):
        values = _filled(dataset, 32, num_examples, **given)
        batch_size = values["train_batch_size"]
        assert 2 <= batch_size <= num_examples
        epochs = values["train_epochs"]
        if values["train_steps"]:
            epochs = values["train_steps"] * batch_size / num_examples
        assert values["warmup_epochs"] == min(10, epochs / 10)
        assert epochs / values["checkpoint_epochs"] < 40

    @pytest.mark.parametrize(
        ("num_examples", "epochs"), [(60_000, 20), (5_000, 106), (300, 1000)]
    )
    def test_unknown_data_train_for_some_2000_steps(self, num_examples, epochs):
        values = _filled("photos", 28, num_examples)
        assert values["train_epochs"] == epochs

    @pytest.mark.parametrize(
        ("smallest", "sizes"), [(4, []), (5, [5]), (100, [5, 10])]
    )
    def test_few_labels_are_as_many_as_there_are(self, smallest, sizes):
        _, filled = recipes.settings(
            catalogue.values(), {}, smallest_class=smallest
        )
        default = catalogue.values()["labels_per_class"]
        assert filled.get("labels_per_class", default) == sizes

    @pytest.mark.parametrize("dataset", [*recipes.RECIPES, "photos"])
    @pytest.mark.parametrize("scaling", ["linear", "sqrt"])
    @pytest.mark.parametrize("optimizer", ["lars", "momentum", "adamw"])
    def test_scaling_alone_keeps_the_peak(self, dataset, scaling, optimizer):
        usual = _filled(dataset, 32, optimizer=optimizer)
        other = _filled(
            dataset, 32, optimizer=optimizer, learning_rate_scaling=scaling
        )
        assert other["learning_rate_scaling"] == scaling
        assert _peak(other) == pytest.approx(_peak(usual), rel=1e-12)

    @pytest.mark.parametrize("dataset", recipes.RECIPES)
    def test_learning_rate_alone_is_linear(self, dataset):
        values = _filled(dataset, 32, learning_rate=0.2)
        assert values["learning_rate"] == 0.2
        assert values["learning_rate_scaling"] == "linear"

    def test_rates_of_lars_and_others_differ(self):
        assert _peak(_filled("cifar10", 32)) == 2.0
        assert _peak(_filled("cifar10", 32, optimizer="adamw")) == 0.002

    @pytest.mark.parametrize(
        ("dataset", "model_dir"),
        [
            ("cifar10", "runs/cifar10"),
            ("imagenet2012_subset/1pct", "runs/imagenet2012_subset-1pct"),
            ("/data/my photos/", "runs/my-photos"),
            ("./arrays/letters.npz", "runs/letters"),
            ("my.photos/", "runs/my.photos"),
            ("/", "runs/data"),
        ],
    )
    def test_model_dir_is_named_after_the_data(self, dataset, model_dir):
        assert _filled(dataset)["model_dir"] == model_dir


class TestFineTuning:
    def filled(self, **given):
        return _filled("digits", train_mode="finetune", **given)

    @pytest.mark.parametrize(
        ("given", "num_examples", "peak", "epochs"),
        [
            # SimCLR, appendix B.5: 1 % and 10 % of ImageNet's labels.
            (
                {"label_fraction": 0.01, "train_batch_size": 4096},
                12_811,
                0.8,
                160,
            ),
            (
                {"label_fraction": 0.1, "train_batch_size": 4096},
                128_116,
                0.8,
                30,
            ),
            # Appendix B.6.
            ({"fine_tune_after_block": 4}, 10**6, 0.1, 90),
            # SimCLRv2, section 3.1.
            (
                {
                    "label_fraction": 0.01,
                    "optimizer": "lars",
                    "train_batch_size": 1024,
                },
                12_811,
                0.16,
                60,
            ),
        ],
    )
    def test_is_the_papers(self, given, num_examples, peak, epochs):
        values = self.filled(num_examples=num_examples, **given)
        assert _peak(values) == pytest.approx(peak)
        assert values["train_epochs"] == epochs
        assert values["weight_decay"] == values["warmup_epochs"] == 0

    @pytest.mark.parametrize("labels", [10, 100, 1437])
    def test_few_labels_get_steps_enough(self, labels):
        values = self.filled(num_examples=labels, labels_per_class=[1])
        assert values["train_batch_size"] == min(256, labels)
        seen = values["train_epochs"] * labels
        assert seen / values["train_batch_size"] >= 500

    def test_takes_all_labels_in_one_fit_to_a_folder_of_its_own(self):
        values = self.filled(num_examples=1437)
        assert values["labels_per_class"] == []
        assert values["label_draws"] == 1
        assert values["model_dir"] == "runs/digits-finetune"

    def test_a_checkpoint_decides_over_the_recipe(self):
        decided = {"image_size": 8, "stem": "imagenet", "resnet_depth": 50}
        values = catalogue.values() | {"train_mode": "finetune"}
        _, filled = recipes.settings(
            values, {"train_mode"}, image_size=64, checkpoint=decided
        )
        assert filled.items() >= decided.items()
        assert filled["color_jitter_strength"] == 0.5
