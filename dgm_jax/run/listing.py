"""`dgm-jax list`: experiments by the chapters of the lecture, read without importing them."""

import ast
import importlib.util
from importlib.metadata import EntryPoint
from typing import NamedTuple

from dgm_jax.run import catalogue
from dgm_jax.terminal.signals import Interrupted

# Chapters in the order of the lecture; those of other packages follow.
CHAPTERS = (
    "Discrete latents",
    "Likelihood-free learning",
    "Implicit posteriors",
    "Priors and ELBO surgery",
    "Image metrics",
)
OTHERS = "Others"


class Entry(NamedTuple):
    """An experiment in the list.

    Attributes:
        chapter: its heading.
        about: the first paragraph of its module's docstring.
    """

    chapter: str
    about: str


def listed() -> str:
    """Lists all experiments as text.

    Returns:
        A heading for each chapter, and below it a line for each of its experiments.
    """
    entries = {name: _read(entry) for name, entry in sorted(catalogue.experiments().items())}
    width = max(map(len, entries), default=0)
    chapters = dict.fromkeys((*CHAPTERS, *sorted({entry.chapter for entry in entries.values()})))
    chapters.pop(OTHERS, None)
    lines = []
    for chapter in (*chapters, OTHERS):
        names = [name for name in entries if entries[name].chapter == chapter]
        lines += [chapter] if names else []
        rows = [f"  {name.ljust(width)}  {entries[name].about}".rstrip() for name in names]
        lines += [row.replace("\n", "\\n") for row in rows]
    return "\n".join(lines)


def _read(entry: EntryPoint) -> Entry:
    try:
        tree = _syntax_of(entry.module)
    except Interrupted:
        raise
    except BaseException as error:  # one broken package costs its own line only
        return Entry(OTHERS, f"cannot be read: {catalogue.reason(error)}")
    about = (ast.get_docstring(tree) or "").split("\n\n")[0]
    return Entry(_chapter_of(tree), " ".join(about.split()))


def _syntax_of(module: str) -> ast.Module:
    """A module's source, parsed; only the packages that contain it are imported."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ImportError(f"there is no module {module}")
    if spec.origin is None:
        raise ImportError(f"{module} is a folder without __init__.py")
    read = getattr(spec.loader, "get_source", None)
    source = read(module) if read else None
    if source is None:
        raise ImportError(f"{module} has no Python source")
    return ast.parse(source, spec.origin)


def _chapter_of(tree: ast.Module) -> str:
    """The text after `chapter=` in a call of `Experiment`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name_of(node.func) == "Experiment":
            for keyword in node.keywords:
                if keyword.arg == "chapter" and isinstance(keyword.value, ast.Constant):
                    return str(keyword.value.value) or OTHERS
    return OTHERS


def _name_of(function: ast.expr) -> str | None:
    return getattr(function, "attr", None) or getattr(function, "id", None)
