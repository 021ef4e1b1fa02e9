"""Renders pages as one HTML file each: no script, no request, and every text escaped.

Everything that a template prints goes through `text.clean` and is escaped, except data addresses,
which `address` checks.
"""

import base64
import functools
import hashlib
import importlib.resources
import re
from typing import Any

import jinja2
from markupsafe import Markup

from dgm_jax.report.text import clean, given, interval, number, p_value

_ADDRESS = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+=*")


def render(template: str, content: dict[str, Any]) -> str:
    """Renders a page.

    Args:
        template: the name of a file in this package.
        content: the template's variables.

    Returns:
        The HTML text.

    Raises:
        jinja2.UndefinedError: a row lacks an entry that the template needs.
    """
    style = _source("page.css.jinja")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    head = {"style": Markup(style), "style_hash": Markup(digest), "refresh": None}
    return engine().get_template(template).render(**{"several_runs": False, **head, **content})


@functools.cache
def engine(escape: bool = True) -> jinja2.Environment:
    """The environment of this package's templates, which it compiles once.

    Args:
        escape: whether texts are escaped; False prints them as they are, by which tests show what
            escaping prevents.

    Returns:
        The environment, with the filters that the templates use.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_source),
        autoescape=escape,
        finalize=_printed if escape else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "given": given,
        "interval": interval,
        "p_value": p_value,
        "verdict": verdict,
        "address": address,
    }
    return environment


def _source(name: str) -> str:
    return importlib.resources.files("dgm_jax.report").joinpath(name).read_text("utf-8")


def _printed(value: Any) -> Any:
    return value if isinstance(value, (Markup, jinja2.Undefined)) else clean(value)


def address(text: str) -> Markup:
    """Marks a picture's data address as safe to print.

    Args:
        text: the address.

    Returns:
        The same text.

    Raises:
        ValueError: it is not such an address.
    """
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"no address of a picture: {text[:40]!r}")
    return Markup(text)


def verdict(row: dict) -> str:
    """The verdict on a row of `statistics.compare_with_reference`.

    Args:
        row: the row.

    Returns:
        "context", "not measured", "within", "within, wide" or "outside".
    """
    if row.get("context"):
        return "context"
    if row.get("within") is None:
        return "not measured"
    if row["within"]:
        return "within, wide" if row.get("wide") else "within"
    return "outside"
