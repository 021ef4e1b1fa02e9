"""Reports in a headless browser at three widths, in both themes: nothing is cut off, nothing is
fetched, the answer stands on the first screen, and axe-core has no serious finding.

`python tests/helpers/browser.py FOLDER REPORT.html ...` says the same of any report, with
screenshots.
"""

import browser
import pytest

from dgm_jax import cli

RING = "gan_ring --num_seeds 2 --num_steps 4 --log_every 2 --num_eval 200 --batch_size 16".split()
RUNS = {
    "plane": ["run", *RING, "--method", "vanilla", "r1"],
    "two_settings": ["ablate", *RING, "--grid", "learning_rate=1e-4,1e-3", "batch_size=8,16"],
    "images": (
        "run vqvae_images --data digits --num_seeds 2 --num_steps 4 --log_every 2 --batch_size 16"
        " --num_codes 8 --code_width 4 --width 4 --prior_width 8 --prior_layers 1"
    ).split(),
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium():
    if browser.missing():
        pytest.skip(browser.missing())
    with browser.opened() as opened:
        yield opened


@pytest.fixture(scope="module", params=RUNS)
def report(request, chromium, tmp_path_factory):
    """The report of a short run."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    assert cli.main([*RUNS[request.param], "--progress", "quiet", "--out", str(out)]) == 0
    return out / "report.html"


def test_a_report_is_under_a_megabyte(report):
    assert report.stat().st_size < 1_000_000


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", browser.WIDTHS)
def test_a_report_answers_and_is_readable(chromium, report, width, theme):
    seen = browser.view(chromium, report, width, theme)
    assert seen.requests == [] and seen.unloaded == []
    assert seen.scroll_width <= width and seen.cut_off == []
    assert seen.answer_top < browser.HEIGHT  # the first picture begins on the first screen
    assert seen.violations == []


def test_what_is_wrong_would_be_noticed(chromium, tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text(
        "<!DOCTYPE html><html><head><title>wrong</title></head><body><main>"
        '<p style="color: #ccc; width: 3000px">pale and wide</p><img src="nowhere.png">'
        "</main></body></html>"
    )
    seen = browser.view(chromium, page, 400, "light")
    assert seen.requests == [(tmp_path / "nowhere.png").as_uri()] and len(seen.unloaded) == 1
    assert seen.scroll_width > 3000 and "pale and wide" in seen.cut_off[0]
    rules = {text.split(":")[0] for text in seen.violations}
    assert rules == {"serious color-contrast", "critical image-alt", "serious html-has-lang"}
