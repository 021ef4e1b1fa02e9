"""Divergences of a sampler in the plane from a known density, by counting: for posteriors that have
no density."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import digamma

from dgm_jax.core import Array, require


class Cells(NamedTuple):
    """A square grid of bins: [low, high]^2 in `num` x `num` squares."""

    low: float
    high: float
    num: int

    @property
    def area(self) -> float:
        """Of one bin."""
        return ((self.high - self.low) / self.num) ** 2


class HistogramKl(NamedTuple):
    """kl: nats, corrected. outside: share of samples beyond the grid, which are left out. occupied:
    bins with samples."""

    kl: Array
    outside: Array
    occupied: Array


def centers(cells: Cells) -> Array:
    """Midpoints of the bins, [num^2, 2], the first axis running slowest."""
    step = (cells.high - cells.low) / cells.num
    axis = cells.low + step * (jnp.arange(cells.num) + 0.5)
    return jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)


def counts(samples: Array, cells: Cells) -> Array:
    """float32[num^2]: how many of samples [N, 2] fall into each bin; those outside the grid, and
    NaN, into none."""
    require(
        samples.ndim == 2 and samples.shape[-1] == 2, f"samples must be [N, 2], got {samples.shape}"
    )
    require(
        cells.low < cells.high and cells.num >= 1,
        f"cells must have low < high and num >= 1, got {cells}",
    )
    step = (cells.high - cells.low) / cells.num
    place = jnp.floor((samples - cells.low) / step)
    # of the floats: NaN as an integer would be a bin
    inside = jnp.all((place >= 0) & (place < cells.num), axis=-1)
    index = jnp.where(inside[:, None], place, 0).astype(jnp.int32)
    flat = jnp.where(inside, index[:, 0] * cells.num + index[:, 1], cells.num**2)
    return jnp.zeros(cells.num**2 + 1).at[flat].add(1.0)[:-1]


def histogram_kl(
    found: Array, log_prob: Callable[[Array], Array], cells: Cells, num_samples: int
) -> HistogramKl:
    """KL(q || p) = sum_b q_b log(q_b / p_b) from the `counts` of samples of q and a normalised
    density p, nats.

    p_b is the density at the midpoint times the area. log q_b is log n_b - log N with Grassberger's
    (2003) G(n) for log n, G(n) = psi(n) + (-1)^n (psi((n + 1) / 2) - psi(n / 2)) / 2: plain counts
    have too little entropy, by half the number of bins over N to first order. Two errors are left,
    and the better one knows the smaller the bins should be: what q varies inside a bin is lost,
    which lowers the KL (by the width of the bins where q has sharp edges, by its square where not),
    and bins with about one sample raise it. With N = 800,000 samples in bins of .025 a normal law
    has .006 from the second, and a quarter of one, cut along lines, -.009 from both.
    """
    require(
        found.shape == (cells.num**2,),
        f"counts of {cells} must be [{cells.num**2}], got {found.shape}",
    )
    total = jnp.sum(found)
    log_p = log_prob(centers(cells)) + jnp.log(cells.area)
    terms = jnp.where(found > 0, found / total * (_log_count(found) - jnp.log(total) - log_p), 0.0)
    return HistogramKl(jnp.sum(terms), (num_samples - total) / num_samples, jnp.sum(found > 0))


def _log_count(found: Array) -> Array:
    """G(n), see `histogram_kl`; finite for n = 0."""
    n = jnp.maximum(found, 1.0)
    sign = 1.0 - 2.0 * jnp.mod(n, 2.0)
    return digamma(n) + sign * (digamma((n + 1) / 2) - digamma(n / 2)) / 2
