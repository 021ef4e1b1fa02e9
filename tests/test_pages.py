"""The built pages in a headless browser: links, pictures, formulas, notebooks, and no request to
another host.

The pages are built as `make docs` does, which takes minutes; DGM_JAX_PAGES names a folder that
holds them already.
"""

import functools
import http.server
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse
from typing import NamedTuple

import browser
import pytest

ROOT = pathlib.Path(__file__).parents[1]
NEEDED = ("sphinx", "myst_nb", "furo", "sphinx_copybutton")
WITH_CODE = sorted(
    path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    for path in (ROOT / "docs").rglob("*.md")
    if "```{code-cell}" in path.read_text("utf-8") and "_build" not in path.parts
)
LOOK = """() => ({
  links: [...document.querySelectorAll('a[href]')].map(a => a.href),
  ids: [...document.querySelectorAll('[id]')].map(element => element.id),
  pictures: [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src),
  formulas: document.querySelectorAll('.math').length,
  drawn: document.querySelectorAll('.math mjx-container').length,
  failed: [...document.querySelectorAll('mjx-merror, [data-mjx-error]')].map(e => e.textContent),
})"""
FORMULAS_DONE = "() => !document.querySelector('.math') || window.MathJax?.startup?.promise"


class Seen(NamedTuple):
    """What a page of the book shows.

    Attributes:
        page: links, ids, pictures, formulas, drawn and failed, as in LOOK.
        requests: addresses that it asked for.
        wrong: failed requests and errors of its scripts.
    """

    page: dict
    requests: list[str]
    wrong: list[str]


def skip_without_sphinx():
    """Skips the test where the pages cannot be built."""
    if lacking := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f'not installed: {", ".join(lacking)}; pip install "dgm_jax[docs]"')


def build(docs, out, *more):
    """Builds pages by the command of `make docs`, but from `docs` into `out`."""
    skip_without_sphinx()
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (flags,) = re.findall(r"-m sphinx (.+) docs docs/_build/html", makefile)
    command = [sys.executable, "-m", "sphinx", *flags.split(), *more, str(docs), str(out)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of the built pages."""
    if browser.missing():
        pytest.skip(browser.missing())
    if built := os.environ.get("DGM_JAX_PAGES"):
        return pathlib.Path(built)
    out = tmp_path_factory.mktemp("pages") / "html"
    build(ROOT / "docs", out)
    return out


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def book(pages):
    """{address: Seen} of every built page and of what their links lead to, and the address of the
    folder."""
    handler = functools.partial(Quiet, directory=str(pages))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        start = f"http://127.0.0.1:{server.server_address[1]}/"
        seen, left = {}, [start + path for path in written(pages)]
        with browser.opened() as opened:
            while left:
                address = left.pop()
                if address not in seen:
                    seen[address] = look(opened, address)
                    left += [to for to in targets(seen[address], start) if is_page(to)]
        server.shutdown()
    return seen, start


def written(pages):
    """The built pages, relative to their folder."""
    return [
        path.relative_to(pages).as_posix()
        for path in sorted(pages.rglob("*.html"))
        if "_static" not in path.parts
    ]


def look(opened, address):
    """Opens a page and waits for its formulas."""
    tab = opened.new_page()
    requests, wrong = [], []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("requestfailed", lambda request: wrong.append(f"failed: {request.url}"))
    tab.on("response", lambda r: wrong.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    tab.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    tab.goto(address, wait_until="load")
    tab.evaluate(FORMULAS_DONE)
    page = tab.evaluate(LOOK)
    tab.close()
    return Seen(page, requests, [text for text in wrong if "favicon.ico" not in text])


def targets(seen, start):
    """The links of a page that stay in the book, without their anchors."""
    return {link.split("#")[0].split("?")[0] for link in seen.page["links"] if start in link[:60]}


def is_page(address):
    return address.endswith((".html", "/"))


def findings(book, name):
    """{end of the address: what is wrong}, without pages where nothing is."""
    seen, start = book
    found = {address.removeprefix(start): name(one) for address, one in seen.items()}
    return {address: wrong for address, wrong in found.items() if wrong}


pytestmark = pytest.mark.slow


def test_links_lead_to_every_page(pages, book):
    seen, start = book
    linked = {target for one in seen.values() for target in targets(one, start)}
    sources = {path for path in written(pages) if path not in ("search.html", "py-modindex.html")}
    assert len(sources) > 30
    assert sources <= {address.removeprefix(start) for address in linked}


def test_no_page_asks_another_host_and_every_request_succeeds(book):
    _, start = book
    outside = findings(
        book, lambda one: [u for u in one.requests if not u.startswith((start, "data:", "blob:"))]
    )
    assert outside == {}
    assert findings(book, lambda one: one.wrong) == {}


def test_every_picture_is_there(book):
    assert findings(book, lambda one: one.page["pictures"]) == {}


def test_every_formula_is_drawn(book):
    assert sum(one.page["formulas"] for one in book[0].values()) > 20
    assert findings(book, lambda one: one.page["failed"]) == {}
    lacking = findings(book, lambda one: one.page["formulas"] - one.page["drawn"])
    assert lacking == {}


def test_every_link_leads_to_a_file_and_every_anchor_to_a_place(pages, book):
    seen, start = book
    wrong = []
    for address, one in seen.items():
        for link in one.page["links"]:
            if not link.startswith(start):
                continue
            target, _, anchor = link.partition("#")
            target = target.split("?")[0]
            file = pages / urllib.parse.unquote(target.removeprefix(start))
            there = file.exists() and (
                not anchor
                or not is_page(target)
                or urllib.parse.unquote(anchor) in seen[target].page["ids"]
            )
            if not there:
                wrong.append((address.removeprefix(start), link.removeprefix(start)))
    assert wrong == []


@pytest.mark.parametrize("page", WITH_CODE)
def test_a_page_with_code_is_offered_as_an_executed_notebook(pages, book, page):
    import nbformat

    seen, start = book
    assert f"{start}{page}.ipynb" in seen[f"{start}{page}.html"].page["links"]
    notebook = nbformat.read(pages / f"{page}.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    source = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert len(cells) == source.count("```{code-cell}")


def test_a_repository_adds_a_link_to_colab_and_a_cell_that_installs(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("conf.py", "notebooks.py"):
        shutil.copy(ROOT / "docs" / name, docs)
    shutil.copy(ROOT / "docs" / "chapters" / "likelihood_free.md", docs / "index.md")
    repository = "https://github.com/OWNER/NAME"
    options = ("nb_execution_mode=off", f"notebook_repository={repository}")
    build(docs, tmp_path / "html", *(word for option in options for word in ("-D", option)))
    page = (tmp_path / "html" / "index.html").read_text("utf-8")
    colab = "https://colab.research.google.com/github/OWNER/NAME/blob/gh-pages/index.ipynb"
    assert page.count(f'href="{colab}"') == page.count('href="index.ipynb"') == 1
    notebook = json.loads((tmp_path / "html" / "index.ipynb").read_text("utf-8"))
    assert "".join(notebook["cells"][0]["source"]) == f'%pip install -q "git+{repository}"'
