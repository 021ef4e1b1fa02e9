"""Every bound of a VAE with a prior of one's own, for two steps, beside priors of the library."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import own_parts
import pytest

from dgm_jax import priors, training
from dgm_jax.core import ConfigError
from dgm_jax.models import Vae, latent, vae

X = jnp.asarray(own_parts.stripes(8))
# The library's own priors, all of them, are in tests/models/test_latent.py.
PRIORS = {
    "laplace": lambda: own_parts.laplace_prior(own_parts.LATENTS),
    "mixture": lambda: priors.mixture(own_parts.LATENTS, num_components=3),
    "vamp": lambda: lambda encode: priors.vamp(encode, 3, own_parts.SHAPE),
}


def recipe_of(name) -> Vae:
    return Vae(*own_parts.coders("linen"), own_parts.LATENTS, PRIORS[name]())


@pytest.mark.parametrize("bound", latent.BOUNDS)
@pytest.mark.parametrize("prior", sorted(PRIORS))
def test_two_steps_move_every_part_and_report_a_bound(prior, bound):
    """All parameters stay finite and every part moves; with the same draws the bounds that average
    log w are no larger than those that average w (Jensen)."""
    recipe = recipe_of(prior)
    model = vae(recipe, own_parts.SHAPE, bound=bound, num_samples=3)
    algorithm = training.alternating(model.players, {"vae": optax.adam(1e-2)})
    start = algorithm.init(jax.random.key(0), *model.init(jax.random.key(1)))

    @jax.jit
    def run(now):
        draw = lambda index: {"x": X, "step": index}
        return jax.lax.scan(lambda now, _: algorithm.step(now, draw), now, length=2)

    moved, info = run(start)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((moved.params, info)))
    for part, parameters in start.params.items():
        before, after = (jax.tree.leaves(tree) for tree in (parameters, moved.params[part]))
        assert not before or any(np.any(a != b) for a, b in zip(before, after, strict=True))
    mean_of_logs, log_of_mean = (
        latent.bound(jax.random.key(2), recipe, moved.params, moved.state, X, name, num_samples=3)
        for name in ("elbo", "importance_weighted")
    )
    assert np.all(mean_of_logs < log_of_mean + 1e-4)


def test_a_bound_that_a_prior_cannot_have_is_refused_by_name():
    """The unnormalised product of a prior and a ratio has no log p(z) to bound with."""
    base = priors.standard_normal(own_parts.LATENTS)
    ratio = priors.implicit_ratio(base, lambda params, z: jnp.sum(z, -1), lambda key: {})
    recipe = recipe_of("laplace")._replace(prior=ratio)
    with pytest.raises(ConfigError, match="normalized log p"):
        vae(recipe, own_parts.SHAPE).init(jax.random.key(0))
