"""Parameters and state of a model's parts, and checks that the parts fit each other.

Every check evaluates shapes only; nothing is computed.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from dgm_jax.core import (
    Array,
    Aux,
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
    """Initialize the networks of a model.

    Args:
        keys: by part.
        networks: by part, in the order in which they are initialized.
        examples: an input of each, with its batch axis.

    Returns:
        (params, state), both by part.
    """
    params = {}
    state = {}
    for part, network in networks.items():
        params[part], state[part] = network.init(keys[part], examples[part])
    return params, state


def init_prior(
    key: Key, prior: Prior, latent_size: int, needed_by: str
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """Initialize the part "prior" of a model.

    Args:
        key: of the parameters.
        prior: the prior.
        latent_size: length of the latents.
        needed_by: what needs the prior, for messages, such as "a VAE".

    Returns:
        (params, state) of the part "prior".

    Raises:
        ConfigError: the prior has no normalized density over vectors of `latent_size` numbers.
    """
    params = prior.init(key)
    require_density(prior, params, latent_size, needed_by)
    return {"prior": params}, {"prior": {}}


def require_prior(prior: object, latent_size: int, *, from_encoder: bool = False) -> None:
    """Refuse what is not a prior; for the name of a prior, the message has the call that makes it.

    Args:
        prior: what was given as prior.
        latent_size: length of the latents.
        from_encoder: whether a function that makes the prior from the encoder is accepted as well.

    Raises:
        ConfigError: it has no `init`, `sample` and `log_prob`.
    """
    if from_encoder and callable(prior):
        return
    expected = "a core.Prior"
    if from_encoder:
        expected += " or a function from the encoder to one"
    hint = _prior_hint(prior, latent_size, from_encoder) if isinstance(prior, str) else ""
    fits = all(callable(getattr(prior, part, None)) for part in ("init", "sample", "log_prob"))
    require(fits, f"prior must be {expected}; got {described(prior)}{hint}")


def _prior_hint(name: str, latent_size: int, from_encoder: bool) -> str:
    """What to write for a prior given by name."""
    make = lookup(PRIORS, name, "prior")
    if name in FROM_DIM:
        return f": write priors.{make.__name__}({latent_size})"
    if make is vamp:
        call = "priors.vamp(encode, num_components, image_shape)"
        return f": {call} needs the encoder; write lambda encode: {call}" if from_encoder else ""
    return f": priors.{make.__name__} makes one"


def checked_batch(loss: LossFn, whose: str, **events: tuple[int, ...] | None) -> LossFn:
    """Make a loss that checks its batch before it is evaluated.

    Args:
        loss: of a player.
        whose: what is trained, for messages, such as "a VAE".
        **events: of each entry of the batch the axes after that of examples, or None if any value
            is accepted (see `core.checks.batch`).

    Returns:
        The same loss, which raises ConfigError for a batch that does not fit.
    """

    def checked(params: Params, state: State, batch: PyTree, key: Key, /) -> tuple[Array, Aux]:
        checks.batch(batch, whose, **events)
        return loss(params, state, batch, key)

    return checked


def output_of(network: Network, part: str, params: Params, state: State, example: PyTree) -> PyTree:
    """Evaluate the shape of a network's output in its inference form.

    Args:
        network: of the part.
        part: its name.
        params: of the model, by part.
        state: of the model, by part.
        example: an input, with its batch axis.

    Returns:
        A tree of `jax.ShapeDtypeStruct`.
    """
    return jax.eval_shape(lambda: network.apply(params[part], state[part], example, train=False)[0])


def require_shape(
    source: str, shape: tuple[int, ...], expected: tuple[int, ...], reason: str
) -> None:
    """Refuse a shape that is not the expected one.

    Args:
        source: what has the shape, such as "the encoder gives".
        shape: with its batch axis.
        expected: with its batch axis.
        reason: what determines the expected shape, such as "examples are (28, 28, 1)".

    Raises:
        ConfigError: the shapes differ; the message is "SOURCE SHAPE, but REASON".
    """
    require(shape == expected, f"{source} {shape[1:]}, but {reason}")


def require_images(model: LatentModel, params: Params, state: State, z: Array, x: Array) -> None:
    """Refuse a decoder whose images do not have the shape of the examples.

    Args:
        model: the densities.
        params: of the model, by part.
        state: of the model, by part.
        z: [B, *E].
        x: [B, H, W, C].

    Raises:
        ConfigError: the shapes differ.
    """
    decoded = jax.eval_shape(lambda: model.decode(params, state, z)).shape
    reason = f"examples are {jnp.shape(x)[1:]}"
    require_shape("the decoder gives images", decoded, jnp.shape(x), reason)
