"""The pages in a real browser. `pytest -m slow`."""

import re
import shutil
import subprocess

import pytest

from simclr_keras import report
from tests.report import runs

pytestmark = pytest.mark.slow

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# How wide a page is drawn, beside the window: what does not fit scrolls.
_PROBE = (
    "<script>console.log('width', document.documentElement.scrollWidth, "
    "innerWidth, 'broken', [...document.images].filter("
    "image => !image.naturalWidth).length)</script></body>"
)


@pytest.fixture(scope="module")
def browser():
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    pytest.fail(
        f"no browser to open reports in (looked for {', '.join(_NAMES)}); "
        "`make browser` installs chromium"
    )


@pytest.fixture(scope="module", params=["run", "comparison"])
def page(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    first = runs.write(folder / "a")
    if request.param == "run":
        return report.write(first)
    path = folder / "comparison.html"
    report.compare([first, runs.write(folder / "b", temperature=0.5)], path)
    return path


def console(browser, page, profile, *arguments):
    """What a browser has to say of a page."""
    answer = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={profile}",
            *arguments,
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    assert "</html>" in answer.stdout
    return re.findall(r"CONSOLE[:(].*", answer.stderr)


def test_the_console_stays_empty(browser, page, tmp_path):
    assert console(browser, page, tmp_path) == []


@pytest.mark.parametrize("width", [500, 1280])
def test_fits_the_window_with_all_pictures(browser, page, width, tmp_path):
    probed = page.with_name("probed.html")
    text = page.read_text(encoding="utf-8")
    probed.write_text(text.replace("</body>", _PROBE), encoding="utf-8")
    (line,) = console(browser, probed, tmp_path, f"--window-size={width},900")
    drawn, window, broken = re.search(
        r"width (\d+) (\d+) broken (\d+)", line
    ).groups()
    assert int(drawn) <= int(window)
    assert broken == "0"
