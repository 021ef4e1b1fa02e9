"""Sphinx extension: every page with code cells is offered as a notebook.

The notebooks are those that MyST-NB has executed for the page, outputs included. Each lies beside
its page, and the page has a link to it below its title.

`notebook_repository` in conf.py adds a link that opens the notebook in Colab. It is the address of
a GitHub repository whose branch gh-pages holds the built pages, "https://github.com/OWNER/NAME";
the notebooks then begin with a cell that installs the library from there. Where it is empty there
is no such link, since Colab opens notebooks from GitHub only.
"""

import pathlib

import nbformat
from docutils import nodes
from myst_nb.sphinx_ext import OUTPUT_FOLDER

GITHUB = "https://github.com/"
COLAB = "https://colab.research.google.com/github"


def notebook_of(app, page: str) -> pathlib.Path | None:
    """The executed notebook of a page, or None where the page has no code cells."""
    path = pathlib.Path(app.outdir).parent / OUTPUT_FOLDER / f"{page}.ipynb"
    return path if path.is_file() else None


def colab_address(repository: str, page: str) -> str:
    """Where Colab opens the notebook of a page."""
    if not repository.startswith(GITHUB):
        raise ValueError(f"notebook_repository must begin with {GITHUB}, got {repository!r}")
    name = repository.removeprefix(GITHUB).strip("/")
    return f"{COLAB}/{name}/blob/gh-pages/{page}.ipynb"


def add_links(app, doctree) -> None:
    """Puts the links below the title of a page with code cells."""
    page = app.env.docname
    if notebook_of(app, page) is None or app.builder.format != "html":
        return
    name = page.rsplit("/", 1)[-1]
    links = [("This page as a notebook", f"{name}.ipynb", "download")]
    if app.config.notebook_repository:
        links.append(("Open in Colab", colab_address(app.config.notebook_repository, page), ""))
    anchors = (
        f'<a class="notebook" href="{address}"{" download" if kind else ""}>{text}</a>'
        for text, address, kind in links
    )
    text = f"<p>{' '.join(anchors)}</p>"
    title = next(doctree.findall(nodes.title))
    title.parent.insert(title.parent.index(title) + 1, nodes.raw("", text, format="html"))


def write_notebooks(app, exception) -> None:
    """Copies the notebooks to where the links lead."""
    if exception is not None or app.builder.format != "html":
        return
    for page in app.env.found_docs:
        source = notebook_of(app, page)
        if source is None:
            continue
        notebook = nbformat.read(source, as_version=4)
        if app.config.notebook_repository:
            install = f'%pip install -q "git+{app.config.notebook_repository}"'
            notebook.cells.insert(0, nbformat.v4.new_code_cell(install))
        nbformat.write(notebook, pathlib.Path(app.outdir) / f"{page}.ipynb")


def setup(app) -> dict:
    """Connects both to the build."""
    app.add_config_value("notebook_repository", "", "env", str)
    app.connect("doctree-read", add_links)
    app.connect("build-finished", write_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
