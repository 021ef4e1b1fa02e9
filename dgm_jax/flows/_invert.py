"""A bijection the other way round."""

from dgm_jax.core import Bijection


def invert(bijection: Bijection) -> Bijection:
    """Forward and inverse exchanged; the same parameters."""
    return Bijection(bijection.init, bijection.inverse_and_log_det, bijection.forward_and_log_det)
