"""Pages in a headless browser: what they ask for, what is cut off, and what axe-core finds.

As a program it surveys files and leaves a screenshot of each width and theme:

    python tests/helpers/browser.py FOLDER REPORT.html ...
"""

import contextlib
import importlib.util
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = (400, 1000, 1400)
HEIGHT = 800
SERIOUS = ("serious", "critical")

# Elements that reach beyond the window, unless a scrolling element holds them.
CUT_OFF = """() => [...document.querySelectorAll('body *')].filter(element => {
  const box = element.getBoundingClientRect();
  return box.width && box.right > document.documentElement.clientWidth + 1
    && !element.closest('.scroll, .unseen');
}).map(element => element.outerHTML.slice(0, 120))"""
TOP_OF_ANSWER = """() => {
  const answer = document.querySelector('main img');
  return answer && answer.getBoundingClientRect().top;
}"""
UNLOADED = """() => [...document.images].filter(image => !image.complete || !image.naturalWidth)
  .map(image => image.alt || image.src.slice(0, 80))"""


def executable() -> str | None:
    """The path of a Chromium, or None where none is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def missing() -> str:
    """What the machine lacks for `opened`, or ""."""
    if executable() is None:
        return f"no browser: none of {', '.join(BROWSERS)} is installed"
    if importlib.util.find_spec("axe_playwright_python") is None:
        return 'axe-playwright-python is not installed: pip install "dgm_jax[browser]"'
    return ""


@contextlib.contextmanager
def opened() -> Iterator[Any]:
    """A headless browser of playwright's, for the time of a `with` block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable(), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


class View(NamedTuple):
    """What a file shows at one width in one theme.

    Attributes:
        requests: addresses that the page asked for, itself excepted.
        scroll_width: width of the content in pixels.
        cut_off: elements that reach beyond the window.
        unloaded: pictures without pixels.
        answer_top: distance of the first picture from the top in pixels, None without one.
        violations: serious and critical findings of axe-core, one a line.
    """

    requests: list[str]
    scroll_width: int
    cut_off: list[str]
    unloaded: list[str]
    answer_top: float | None
    violations: list[str]


def view(
    browser: Any,
    page: pathlib.Path,
    width: int,
    theme: str,
    *,
    picture: pathlib.Path | None = None,
) -> View:
    """Opens a file and looks at it.

    Args:
        browser: of `opened`.
        page: the file.
        width: of the window in pixels.
        theme: "light" or "dark", as the reader's system prefers it.
        picture: where a screenshot of the first screen goes; a second one, `NAME_whole.png`, shows
            the page from top to bottom with everything unfolded.

    Returns:
        What was seen, with everything unfolded but for `answer_top`.
    """
    # The page's policy allows no script, which axe-core is.
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme=theme, bypass_csp=True
    )
    tab = context.new_page()
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(page.resolve().as_uri(), wait_until="load")
    answer_top = tab.evaluate(TOP_OF_ANSWER)
    if picture:
        tab.screenshot(path=picture)
    tab.evaluate("() => document.querySelectorAll('details').forEach(d => { d.open = true; })")
    if picture:
        tab.screenshot(path=picture.with_stem(f"{picture.stem}_whole"), full_page=True)
    seen = View(
        requests=[url for url in requests[1:] if not url.startswith("data:")],
        scroll_width=tab.evaluate("() => document.documentElement.scrollWidth"),
        cut_off=tab.evaluate(CUT_OFF),
        unloaded=tab.evaluate(UNLOADED),
        answer_top=answer_top,
        violations=violations(tab),
    )
    context.close()
    return seen


def violations(tab: Any) -> list[str]:
    """The serious and critical findings of axe-core on a tab, one a line."""
    from axe_playwright_python.sync_playwright import Axe

    response = Axe().run(tab).response
    return [
        f"{rule['impact']} {rule['id']}: {node['target'][0]} {node['any'][:1]}"
        for rule in response["violations"]
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]


def main(folder: str, *pages: str) -> int:
    """Prints what is wrong with each page, and returns how many findings there are."""
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    count = 0
    with opened() as browser:
        for page in map(pathlib.Path, pages):
            for width in WIDTHS:
                for theme in ("light", "dark"):
                    place = pathlib.Path(folder) / f"{page.parent.name}_{width}_{theme}.png"
                    seen = view(browser, page, width, theme, picture=place)
                    wrong = {
                        name: value
                        for name, value in seen._asdict().items()
                        if name not in ("answer_top", "scroll_width") and value
                    }
                    if seen.scroll_width > width:
                        wrong["scroll_width"] = seen.scroll_width
                    count += len(wrong)
                    print(place.name, f"{page.stat().st_size} bytes", seen.answer_top, wrong)
    return count


if __name__ == "__main__":
    sys.exit(bool(main(*sys.argv[1:])))
