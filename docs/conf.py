"""Settings of Sphinx for the pages.

Nothing is fetched while they are built or read: MathJax comes from a package, and no address of
another project is looked up.
"""

import importlib.metadata
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

project = "dgm_jax"
author = "The dgm_jax authors"
copyright = "The dgm_jax authors"
release = version = importlib.metadata.version("dgm_jax")

extensions = [
    "myst_nb",
    "notebooks",  # notebooks.py beside this file
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
# Links to files outside docs/ lead to the repository; tests/test_documents.py follows them all.
suppress_warnings = ["misc.highlighting_failure", "myst.xref_missing"]

# Pages with code cells are executed at every build, and a cell that fails fails the build.
nb_execution_mode = "force"
nb_execution_timeout = 1200  # seconds a cell, of which a busy machine needs hundreds
nb_execution_raise_on_error = True
nb_merge_streams = True
# "https://github.com/OWNER/NAME" puts a link to Colab on each page with code; see notebooks.py.
notebook_repository = ""
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
myst_enable_extensions = ["amsmath", "dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "dgm_jax"
html_show_sourcelink = True


SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Yields):")


def _as_text(line: str) -> str:
    """A line of a docstring, whose stars and bars are no markup; `code` is code."""
    parts = re.split(r"(`[^`]+`)", line)
    escaped = [re.sub(r"([*|]|(?<=\w)_(?=\W|$))", r"\\\1", part) for part in parts[::2]]
    code = [f"`{part}`" for part in parts[1::2]]
    return "".join(part for pair in zip(escaped, [*code, ""], strict=True) for part in pair)


def plain_docstrings(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text: what is indented after an empty line is a formula, and is shown as
    it stands."""
    made = []
    in_section = in_formula = False
    for line in lines:
        indented = line[:1].isspace()
        if line and not indented:
            in_section = bool(SECTION.fullmatch(line))
            if in_formula:
                made.append("")
            in_formula = False
        elif indented and not in_section and not in_formula:
            if made and not made[-1]:
                in_formula = True
                made += ["::", ""]
            else:
                line = line.strip()
        is_example = line.lstrip().startswith((">>>", "..."))
        made.append(line if in_formula or is_example else _as_text(line))
    lines[:] = made


def setup(app) -> None:
    """Before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", plain_docstrings, priority=400)
