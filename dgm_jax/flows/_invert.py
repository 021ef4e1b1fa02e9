"""A bijection with its two directions exchanged."""

from dgm_jax.core import Bijection


def invert(bijection: Bijection) -> Bijection:
    """Exchange the forward and the inverse direction of a bijection.

    Args:
        bijection: any bijection.

    Returns:
        Its inverse, with the same parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> from dgm_jax import flows
        >>> double = {"log_scale": jnp.log(jnp.array([2.0])), "shift": jnp.zeros(1)}
        >>> y, log_det = flows.invert(flows.affine(1)).forward_and_log_det(double, jnp.ones(1))
        >>> print(f"{y[0]:.4f} {log_det:.4f}")  # 1 / 2 and -log 2
        0.5000 -0.6931
    """
    return Bijection(bijection.init, bijection.inverse_and_log_det, bijection.forward_and_log_det)
