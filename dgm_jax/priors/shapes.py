"""What every prior over vectors asks of its input."""

import jax
import jax.numpy as jnp

from dgm_jax.core import ConfigError, Prior, PyTree, require


def require_density(prior: Prior, params: PyTree, latent_size: int, needed_by: str) -> None:
    """ConfigError unless the prior has a normalised density over vectors of `latent_size`
    numbers."""
    require(
        getattr(prior, "normalised", True),
        f"{needed_by} needs a normalised log p(z), but {type(prior).__name__} is known up to a"
        " constant only: give its log_normaliser (priors.estimate_log_normaliser)",
    )
    try:
        found = jax.eval_shape(prior.log_prob, params, jnp.zeros((2, latent_size))).shape
        drawn = jax.eval_shape(lambda: prior.sample(params, jax.random.key(0), 2)).shape
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{needed_by} has latent_size={latent_size}, but its prior says: {error}"
        ) from error
    for name, shape, wanted in (("log_prob", found, (2,)), ("sample", drawn, (2, latent_size))):
        require(
            shape == wanted,
            f"{needed_by} has latent_size={latent_size}, so its prior's {name} of two vectors must "
            f"be {wanted}; got {shape}",
        )
