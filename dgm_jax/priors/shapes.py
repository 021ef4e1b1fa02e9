"""What a recipe with a latent vector requires of its prior."""

import jax
import jax.numpy as jnp

from dgm_jax.core import ConfigError, Prior, PyTree, require


def require_density(prior: Prior, params: PyTree, latent_size: int, needed_by: str) -> None:
    """Refuse a prior without a normalized density over vectors of a given length.

    Only shapes are evaluated; nothing is computed.

    Args:
        prior: the prior to check.
        params: its parameters.
        latent_size: length of the latents.
        needed_by: what needs the density, for the message, such as "a VAE".

    Raises:
        ConfigError: the density is not normalized, or log_prob or sample has another shape.

    Example:
        >>> from dgm_jax import priors
        >>> priors.require_density(priors.standard_normal(2), {}, 2, "a VAE")  # accepted
    """
    require(
        getattr(prior, "normalized", True),
        f"{needed_by} needs a normalized log p(z), but {type(prior).__name__} is known up to a"
        " constant only: give its log_normalizer (priors.estimate_log_normalizer)",
    )
    try:
        density = jax.eval_shape(prior.log_prob, params, jnp.zeros((2, latent_size)))
        draws = jax.eval_shape(lambda: prior.sample(params, jax.random.key(0), 2))
    except (ConfigError, TypeError, ValueError) as error:
        message = f"{needed_by} has latent_size={latent_size}, but its prior says: {error}"
        raise ConfigError(message) from error
    pairs = (("log_prob", density.shape, (2,)), ("sample", draws.shape, (2, latent_size)))
    for name, shape, expected in pairs:
        require(
            shape == expected,
            f"{needed_by} has latent_size={latent_size}, so its prior's {name} of two vectors must "
            f"be {expected}; got {shape}",
        )
