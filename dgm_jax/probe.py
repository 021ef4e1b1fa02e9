"""Does this jaxlib add up? Every pattern that a jaxlib is known to get wrong on CPU, beside NumPy.

    python -m dgm_jax.probe

prints the relative error of each pattern and ends with status 1 where one is too large. The import
of dgm_jax sets the guarding flag first (`dgm_jax/_backend.py`); a value of your own shows the
library without it: XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=+reduce.
"""

import math
import subprocess
import sys
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import _backend

TOLERANCE = 1e-5
PATIENCE = 600  # seconds; on some processors a deadly pattern hangs instead (jax issue 39257)


def constant_product_times_sum() -> float:
    """sum((e @ C) * e), C constant, batched: wrong from 0.10.2 to 0.12.0.1."""
    e = _normal(64, 32, 16)

    def of_lane(e):
        constant = jnp.full((16, 16), 2.0, jnp.float32)
        return jnp.sum((e @ constant) * e, -1)

    compiled = jax.jit(jax.vmap(of_lane))
    exact = _float64(e)
    row_sums = exact.sum(-1, keepdims=True)
    right = (2 * row_sums * exact).sum(-1)
    return _error(compiled(e), right)


def ones_product_times_sum() -> float:
    """sum((e @ ones) * e) over a whole lane, batched: wrong from 0.10.2 to 0.12.0.1."""
    e = _normal(8, 128, 64)

    def of_lane(e):
        ones = jnp.ones((64, 64), jnp.float32)
        return jnp.sum((e @ ones) * e)

    compiled = jax.jit(jax.vmap(of_lane))
    exact = _float64(e)
    row_sums = exact.sum(-1, keepdims=True)
    right = (row_sums * exact).sum((1, 2))
    return _error(compiled(e), right)


def matrix_product_times_sum() -> float:
    """sum((e @ A) * e) with a matrix that is an argument, batched."""
    e = _normal(64, 32, 16)
    a = _normal(16, 16)
    of_lane = lambda e, a: jnp.sum((e @ a) * e, -1)
    compiled = jax.jit(jax.vmap(of_lane, (0, None)))
    exact = _float64(e)
    product = exact @ _float64(a)
    right = (product * exact).sum(-1)
    return _error(compiled(e, a), right)


def many_rows(dtype: type[np.floating] = np.float32) -> float:
    """|A x_i|^2 over more than 32,768 rows (jax issue 39103): wrong on 0.10.2.

    Args:
        dtype: of the rows.

    Returns:
        The relative error.
    """
    rows = np.zeros((32_768 + 8, 3), dtype)
    rows[:, 0] = np.arange(len(rows)) % 4096  # whose squares float32 holds exactly

    def of_row(row):
        matrix = jnp.eye(3, dtype=dtype)
        return jnp.sum((matrix @ row) ** 2)

    compiled = jax.jit(jax.vmap(of_row))
    right = _float64(rows[:, 0]) ** 2
    return _error(compiled(rows), right)


def many_rows_float64() -> float:
    """The same in float64."""
    with jax.enable_x64(True):
        return many_rows(np.float64)


def dilated_window() -> float:
    """A maximum over windows of two rows, holes between columns (openxla issue 48714): the holes
    vanish from 0.10.2 to 0.12.0.1."""
    x = _normal(64, 128)

    def maxima(x):
        window = (2, 1)
        no_padding = ((0, 0), (0, 0))
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, window, window, no_padding, base_dilation=(1, 2)
        )

    compiled = jax.jit(maxima)
    got = np.asarray(compiled(x))
    largest = got[:, ::2]
    holes = got[:, 1::2]
    if got.shape != (32, 255):
        return math.inf
    if not np.all(holes == -np.inf):
        return math.inf
    pairs = _float64(x).reshape(32, 2, 128)
    return _error(largest, pairs.max(1))


def rank_seven_product_sum() -> float:
    """sum(a * b) over one of seven axes (jax issue 40412): ends the process on 0.10.2."""
    a = _normal(3, 1, 2, 2, 8, 8, 8)
    b = a[..., ::-1].copy()
    sums = lambda a, b: jnp.sum(a * b, axis=3)
    compiled = jax.jit(sums)
    products = _float64(a) * b
    return _error(compiled(a, b), products.sum(3))


def rank_eight_product_sum() -> float:
    """log sum(a * B) with a spread over five more axes (jax issue 39257): ends the process, or
    hangs, on 0.10.2 and 0.11.0."""
    a = np.exp(_normal(10, 4, 6, 1, 1, 1, 1, 1))
    b = np.exp(_normal(10, 4, 6, 3, 3, 3, 3, 3))

    def log_sums(a, b):
        sums = jnp.sum(a * b, axis=2)
        return jnp.log(sums)

    compiled = jax.jit(log_sums)
    products = _float64(a) * b
    right = np.log(products.sum(2))
    return _error(compiled(a, b), right)


Patterns = dict[str, Callable[[], float]]
SILENT: Patterns = {
    "constant product, times, sum": constant_product_times_sum,
    "product with ones, times, sum": ones_product_times_sum,
    "matrix product, times, sum": matrix_product_times_sum,
    "product, squares, sum, 32,776 rows": many_rows,
    "product, squares, sum, 32,776 rows, float64": many_rows_float64,
    "maximum over dilated windows": dilated_window,
}
DEADLY: Patterns = {
    "product, sum, rank 7": rank_seven_product_sum,
    "broadcast product, sum, rank 8": rank_eight_product_sum,
}
PATTERNS = SILENT | DEADLY


def relative_errors(names: Iterable[str] = tuple(PATTERNS)) -> dict[str, float]:
    """What this jaxlib makes of the patterns on CPU, with the flags it was started with.

    Args:
        names: keys of PATTERNS. Those of DEADLY run in a process of their own each.

    Returns:
        {name: largest deviation from NumPy in float64, over the largest value}; NaN or infinity
        where the result has some, infinity where the process died or hung.
    """
    errors = {}
    for name in names:
        if name in DEADLY:
            errors[name] = _error_of_process(name)
        else:
            cpu = jax.local_devices(backend="cpu")[0]
            with jax.default_device(cpu), jax.debug_nans(False):
                errors[name] = SILENT[name]()
    return errors


def wrong(errors: dict[str, float]) -> dict[str, float]:
    """Selects the errors that rounding does not explain, NaN among them.

    Args:
        errors: {pattern: relative error}.

    Returns:
        Those at or above the tolerance.
    """
    return {name: error for name, error in errors.items() if not error < TOLERANCE}


def _normal(*shape: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.normal(size=shape).astype(np.float32)


def _float64(array: jax.Array | np.ndarray) -> np.ndarray:
    return np.asarray(array, np.float64)


def _error(got: jax.Array | np.ndarray, right: np.ndarray) -> float:
    with np.errstate(all="ignore"):
        difference = np.abs(_float64(got) - right)
    largest_error = np.max(difference)
    largest_value = np.max(np.abs(right))
    return float(largest_error / largest_value)


def _error_of_process(name: str) -> float:
    # JAX starts first there, so the child's own guard changes nothing: it computes as we do.
    code = "import jax; jax.devices('cpu'); from dgm_jax import probe; probe.main([{!r}])"
    command = [sys.executable, "-W", "ignore", "-c", code.format(name)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return math.inf
    if ended.returncode == 1:  # Python's own end; a crash has another
        raise RuntimeError(f"the pattern {name!r} did not run:\n{ended.stderr}")
    if ended.returncode != 0:
        return math.inf
    return float(ended.stdout)


def main(arguments: list[str]) -> int:
    """Prints a table of all patterns, or the error of one.

    Args:
        arguments: empty for the table, or the name of a pattern.

    Returns:
        1 if a pattern of the table is wrong, else 0.
    """
    if arguments:
        pattern = PATTERNS[arguments[0]]
        cpu = jax.local_devices(backend="cpu")[0]
        with jax.default_device(cpu):
            print(pattern())
        return 0
    errors = relative_errors()
    bad = wrong(errors)
    for name, error in errors.items():
        verdict = "  WRONG" if name in bad else ""
        print(f"{error:9.1e}  {name}{verdict}")
    version = _backend.installed_version()
    num_bad = len(bad)
    print(f"jaxlib {version}: {num_bad} of {len(errors)} patterns wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
