"""Mean and variance of values that come in batches."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from dgm_jax.core.errors import require
from dgm_jax.core.numerics import at_least_float32
from dgm_jax.core.types import Array


class RunningMoments(NamedTuple):
    """Count, mean and sum of squared deviations of the values so far.

    Start with `empty`; `merge` adds a batch, `join` another set of moments.

    Attributes:
        count: float32[], the number of values.
        mean: [...].
        squares: [...], the sum of squared deviations from the mean.

    Example:
        >>> moments = RunningMoments.empty().merge(jnp.array([1.0, 2.0])).merge(jnp.array([6.0]))
        >>> print(f"{moments.mean:.1f} {moments.variance():.1f}")
        3.0 7.0
    """

    count: Array
    mean: Array
    squares: Array

    @classmethod
    def empty(cls, shape: tuple[int, ...] = ()) -> "RunningMoments":
        """Moments of no values.

        Args:
            shape: of one value.

        Returns:
            Zeros.
        """
        zeros = jnp.zeros(shape)
        return cls(jnp.float32(0), zeros, zeros)

    def merge(self, values: Array) -> "RunningMoments":
        """Add the values of a batch (Chan, Golub and LeVeque 1979, eq. 2.1).

        Deviations are taken from the batch's own mean, so no large sums cancel.

        Args:
            values: [n, ...].

        Returns:
            The moments of all values together.

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
        """Combine the moments of two sets of values, either of which may be empty.

        Args:
            other: moments of the other values.
            product: of a deviation with itself: `square`, or the outer product where `squares` are
                sums of outer products.

        Returns:
            The moments of both sets together.
        """
        shift = other.mean - self.mean
        total = self.count + other.count
        divisor = jnp.maximum(total, 1)  # both sets may be empty
        squares = self.squares + other.squares
        return RunningMoments(
            total,
            self.mean + shift * other.count / divisor,
            squares + product(shift) * self.count * other.count / divisor,
        )

    def variance(self) -> Array:
        """Unbiased variance, squares / (count - 1).

        Returns:
            [...]; 0 for a single value.
        """
        return self.squares / jnp.maximum(self.count - 1, 1)
