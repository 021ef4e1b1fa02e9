"""Parameters and state of a model's parts, and whether the parts fit each other.

Every check reads shapes only: nothing is computed.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Key,
    LatentModel,
    LossFn,
    Network,
    Params,
    Prior,
    PyTree,
    State,
    checks,
    described,
    lookup,
    require,
)
from dgm_jax.priors import FROM_DIM, PRIORS, require_density, vamp


def init_parts(
    keys: Mapping[str, Key], networks: Mapping[str, Network], examples: Mapping[str, PyTree]
) -> tuple[Params, State]:
    """(params, state) by part.

    Args:
      keys: by part.
      networks: by part, in the order in which they are made.
      examples: an input of each, with its batch axis.
    """
    params, state = {}, {}
    for part, network in networks.items():
        params[part], state[part] = network.init(keys[part], examples[part])
    return params, state


def init_prior(
    key: Key, prior: Prior, latent_size: int, needed_by: str
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """(params, state) of the part "prior"; ConfigError unless its density is one of vectors of
    `latent_size` numbers, and normalised."""
    params = prior.init(key)
    require_density(prior, params, latent_size, needed_by)
    return {"prior": params}, {"prior": {}}


def require_prior(prior, latent_size: int, *, from_encoder: bool = False) -> None:
    """ConfigError unless a prior is one, with what to write for the name of one.

    from_encoder: a function that makes it from the encoder will do as well.
    """
    if from_encoder and callable(prior):
        return
    due = "a core.Prior" + " or a function from the encoder to one" * from_encoder
    told = ""
    if isinstance(prior, str):
        make = lookup(PRIORS, prior, "prior")
        told = f": priors.{make.__name__} makes one"
        if prior in FROM_DIM:
            told = f": write priors.{make.__name__}({latent_size})"
        elif make is vamp:
            call = "priors.vamp(encode, num_components, image_shape)"
            told = f": {call} needs the encoder; write lambda encode: {call}" * from_encoder
    has = all(callable(getattr(prior, part, None)) for part in ("init", "sample", "log_prob"))
    require(has, f"prior must be {due}; got {described(prior)}{told}")


def checked_batch(loss: LossFn, whose: str, **events: tuple[int, ...] | None) -> LossFn:
    """The loss, after a look at what its batch holds (`core.checks.batch`)."""

    def checked(params, state, batch, key, /):
        checks.batch(batch, whose, **events)
        return loss(params, state, batch, key)

    return checked


def output_of(network: Network, part: str, params: Params, state: State, example: PyTree) -> PyTree:
    """Shapes of what the network of a part gives for an example, in its inference form."""
    return jax.eval_shape(lambda: network.apply(params[part], state[part], example, train=False)[0])


def require_shape(giver: str, found: tuple[int, ...], expected: tuple[int, ...], told: str) -> None:
    """ConfigError "GIVER SHAPE, but TOLD" unless two shapes, with their batch axes, agree."""
    require(found == expected, f"{giver} {found[1:]}, but {told}")


def require_images(model: LatentModel, params: Params, state: State, z: Array, x: Array) -> None:
    """ConfigError unless what the model decodes from latents z [B, *E] has the shape of x."""
    shown = jax.eval_shape(lambda: model.decode(params, state, z)).shape
    told = f"examples are {jnp.shape(x)[1:]}"
    require_shape("the decoder gives images", shown, jnp.shape(x), told)
