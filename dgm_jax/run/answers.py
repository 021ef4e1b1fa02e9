"""The answer of a command that reads run folders: what it prints, and its exit code."""

from collections.abc import Callable

from dgm_jax.terminal import console, signals


def answered(make: Callable[[], str]) -> int:
    """Prints what a command makes, or one sentence on standard error about what is wrong.

    Args:
        make: does the work; returns the text.

    Returns:
        The exit code: 0, or that of the `DgmError` that was raised.
    """
    with signals.importing():
        from dgm_jax.core import DgmError

    try:
        text = make()
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    print(text)
    return 0
