"""Results that are computed once within a context, such as a data set that two functions read."""

import contextlib
import contextvars
from collections.abc import Callable, Hashable, Iterator
from typing import Any

_KNOWN: contextvars.ContextVar[dict[Hashable, Any] | None] = contextvars.ContextVar(
    "results within each_once", default=None
)


@contextlib.contextmanager
def each_once() -> Iterator[None]:
    """Keep what `once` computes until this context ends.

    Yields:
        Nothing.
    """
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def once(name: Hashable, compute: Callable[[], Any], shared: Callable[[Any], Any]) -> Any:
    """Return the result of a computation, which within `each_once` is made once for a name.

    Args:
        name: of the result.
        compute: computes it.
        shared: makes of the kept result one that may be handed out, without what a caller could
            change in it.

    Returns:
        The result; within `each_once` that of `shared`.
    """
    known = _KNOWN.get()
    if known is None:
        return compute()
    if name not in known:
        known[name] = compute()
    return shared(known[name])
