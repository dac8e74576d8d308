"""The page about flags, and what it says of Google's."""

import pathlib

from simclr_keras.flags import catalogue
from simclr_keras.flags import documentation
from simclr_keras.flags import google
from simclr_keras.flags import recipes
from simclr_keras.flags import without_effect

_PAGE = pathlib.Path(__file__).parents[2] / "docs" / "flags.md"
_REWRITE = "python -m simclr_keras.flags.documentation > docs/flags.md"


def test_page_is_in_step_with_the_definitions():
    page = _PAGE.read_text(encoding="utf-8")
    assert page == documentation.markdown(), f"Run: {_REWRITE}"


def test_page_has_a_row_for_every_flag():
    page = documentation.markdown()
    for name, flag in catalogue.definitions().items():
        whose = "Google" if name in google.DEFAULTS else "ours"
        [row] = [
            line
            for line in page.splitlines()
            if line.startswith(f"| `--{name}` |") and flag.help in line
        ]
        assert f"| {whose} |" in row


def test_every_flag_of_google_is_defined():
    assert google.DEFAULTS.keys() <= catalogue.definitions().keys()
    # 48 in tf2/run.py; its README uses two more, of the TF1 code.
    assert len(google.DEFAULTS) == 50


def test_default_is_googles_or_a_listed_deviation():
    for name, default in google.DEFAULTS.items():
        ours = catalogue.definitions()[name].default
        assert ours == default or name in google.DEVIATIONS, name


def test_deviations_are_of_googles_flags():
    assert google.DEVIATIONS.keys() <= google.DEFAULTS.keys()
    page = documentation.markdown()
    assert all(why in page for why in google.DEVIATIONS.values())


def test_recipes_and_flags_without_effect_are_listed():
    page = documentation.markdown()
    for recipe in [*recipes.RECIPES.values(), recipes.SMALL, recipes.LARGE]:
        assert f"- **{recipe.name}**: {recipe.source}." in page
    for name in without_effect.FLAGS:
        assert f"| `--{name}` |" in page.partition("## Flags without effect")[2]
