"""Curves in a report that equal those of an earlier one are drawn once.

The tests of whole runs make the same few runs again and again; to draw their curves takes longer
than to train them. `tests/report` and `tests/plotting`, whose subject they are, draw them all.
"""

import contextlib
import copy
from collections.abc import Iterator
from unittest import mock

from dgm_jax.report import charts, content

_DRAWN: dict[str, tuple] = {}  # what the charts show -> `charts.curves` of it


def _curves(history, metrics, display):
    shown = repr((vars(history), metrics, display))
    if shown not in _DRAWN:
        _DRAWN[shown] = charts.curves(history, metrics, display)
    return copy.deepcopy(_DRAWN[shown])


@contextlib.contextmanager
def drawn_once() -> Iterator[None]:
    with mock.patch.object(content, "curves", _curves):
        yield
