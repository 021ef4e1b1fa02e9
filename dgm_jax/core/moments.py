"""Mean and variance of values that come in batches."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from dgm_jax.core.errors import require
from dgm_jax.core.numerics import at_least_float32
from dgm_jax.core.types import Array


class RunningMoments(NamedTuple):
    """Count, mean and sum of squared deviations of the values seen so far.

    Start with zeros of the shape of one value; `merge` adds a batch.
    """

    count: Array  # float32[]
    mean: Array  # [...]
    squares: Array  # [...]

    @classmethod
    def empty(cls, shape: tuple[int, ...] = ()) -> "RunningMoments":
        """Of no values of that shape."""
        zeros = jnp.zeros(shape)
        return cls(jnp.float32(0), zeros, zeros)

    def merge(self, values: Array) -> "RunningMoments":
        """With the values [n, ...] of a new batch (Chan, Golub and LeVeque 1979, eq. 2.1): no large
        sums cancel.

        Raises:
            ConfigError: the values of the batch do not have the shape of the mean.
        """
        require(
            values.ndim > 0 and values.shape[1:] == self.mean.shape,
            f"values must be [n, *{self.mean.shape}], as the mean is {self.mean.shape}; got"
            f" {values.shape}",
        )
        values = at_least_float32(values)
        mean = jnp.mean(values, axis=0)
        squares = jnp.sum(jnp.square(values - mean), axis=0)
        count = jnp.asarray(values.shape[0], self.count.dtype)
        return self.join(RunningMoments(count, mean, squares))

    def join(
        self, other: "RunningMoments", product: Callable[[Array], Array] = jnp.square
    ) -> "RunningMoments":
        """Of both sets of values together, either of which may be empty.

        Args:
            other: moments of other values.
            product: of a deviation with itself: `square`, or its outer product where `squares` are
                sums of those.
        """
        shift = other.mean - self.mean
        total = self.count + other.count
        some = jnp.maximum(total, 1)
        squares = self.squares + other.squares
        return RunningMoments(
            total,
            self.mean + shift * other.count / some,
            squares + product(shift) * self.count * other.count / some,
        )

    def variance(self) -> Array:
        """Unbiased (divided by count - 1); 0 for a single value."""
        return self.squares / jnp.maximum(self.count - 1, 1)
