"""The Dirac-GAN: a game of two numbers, small enough that its dynamics are known in closed form.

The data are a point at 0, the generator puts a point at theta, and the critic is linear with slope
psi (Mescheder, Geiger and Nowozin 2018, "Which training methods for GANs do actually converge?",
definition 2.1). The equilibrium is theta = psi = 0. With f(t) = -log(1 + e^-t) the paper writes the
game as min_theta max_psi f(psi theta) + f(0), where the critic is large on fakes. Logits of this
library are large on real examples, so here the logit of x is -psi x and all losses of
`objectives.gan.LOSSES` keep their signs. The game is `models.gan` with two one-parameter networks,
so everything that composes with a GAN composes with it.

The generator is the first of the players, so `training.alternating` moves it before the
discriminator.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dgm_jax.core import Array, Aux, Key, Model, Params, Player, PyTree, State, lookup
from dgm_jax.models._gan import DISCRIMINATOR, GENERATOR, PENALTIES, Penalty, gan
from dgm_jax.networks import from_functions
from dgm_jax.objectives.gan import LOSSES


class DiracGame(NamedTuple):
    """One variant of the game.

    Attributes:
        loss: a name of `objectives.gan.LOSSES`; "minimax" is the saturating GAN, "wasserstein" the
            WGAN.
        penalty: a name of `models.PENALTIES`, or None.
        weight: its factor. R1 with weight gamma adds gamma / 2 psi^2; the gradient penalty with
            weight w adds w (|psi| - 1)^2, which is lambda / 2 (|psi| - 1)^2 for w = lambda / 2.
        clip: after every update of the discriminator psi is projected to [-clip, clip]; None for
            no projection.
        half_consensus: factor of the term of `half_consensus`.
    """

    loss: str = "minimax"
    penalty: str | None = None
    weight: float = 0.0
    clip: float | None = None
    half_consensus: float = 0.0


# The games of the public notebook of GAN_stability (notebooks/DiracGAN.ipynb), with its constants.
DIRAC_GAMES = {
    "gan": DiracGame("minimax"),
    "non_saturating": DiracGame("non_saturating"),
    "wgan_clip": DiracGame("wasserstein", clip=1.0),
    "wgan_gp": DiracGame("wasserstein", "gradient_penalty", 0.35),
    "r1_0.3": DiracGame("minimax", "r1", 0.3),
    "r1_1": DiracGame("minimax", "r1", 1.0),
    "non_saturating_r1_0.3": DiracGame("non_saturating", "r1", 0.3),
    "half_consensus": DiracGame("minimax", half_consensus=1.0),
}


def dirac_gan(
    game: DiracGame = DIRAC_GAMES["gan"],
    start: tuple[float, float] = (1.0, 1.0),
    updates: tuple[int, int] = (1, 1),
) -> Model:
    """Make the `Model` of a variant of the game.

    Nothing in this game is random: the losses ignore their batch, which may be empty.

    Args:
        game: the variant.
        start: (theta, psi) at init.
        updates: of the generator and of the discriminator in one step of `training.alternating`.

    Returns:
        The model with params `{"generator": theta, "discriminator": psi}`, scalars. `sample`
        returns theta, repeated.

    Raises:
        ConfigError: the game has an unknown loss or penalty.
    """
    theta, psi = start
    penalty = None
    if game.penalty:
        term = lookup(PENALTIES, game.penalty, "penalty")
        penalty = Penalty(term, game.weight)
    generator = from_functions(
        lambda key, z: jnp.asarray(theta, z.dtype),
        lambda params, z: jnp.broadcast_to(params, z.shape),
    )
    discriminator = from_functions(
        lambda key, x: jnp.asarray(psi, x.dtype),
        lambda params, x: -params * x[..., 0],
    )
    loss = lookup(LOSSES, game.loss, "GAN loss")
    model = gan(
        generator,
        discriminator,
        loss,
        latent_size=1,
        example_shape=(1,),
        penalty=penalty,
    )
    players = {}
    for name, num_updates in zip((GENERATOR, DISCRIMINATOR), updates, strict=True):
        player = _without_batch(model.players[name], game.half_consensus)
        players[name] = player._replace(num_updates=num_updates)
    return model._replace(players=players)


def _without_batch(player: Player, half_consensus_strength: float) -> Player:
    """The player on a fixed batch: a real example at 0 and a latent that the generator ignores."""

    def loss(params: Params, state: State, batch: PyTree, key: Key) -> tuple[Array, Aux]:
        del batch
        fixed = {"x": jnp.zeros((1, 1)), "z": jnp.zeros((1, 1))}
        value, aux = player.loss(params, state, fixed, key)
        if half_consensus_strength:
            term = half_consensus(params[GENERATOR], params[DISCRIMINATOR])
            value = value + half_consensus_strength * term
        return value, aux

    return player._replace(loss=loss)


def dirac_optimizers(
    game: DiracGame, step_size: Array | float
) -> dict[str, optax.GradientTransformation]:
    """Make gradient descent for both players, with the discriminator's projection if there is one.

    Args:
        game: the variant.
        step_size: of both players.

    Returns:
        The optimizers by player.
    """
    descent: dict[str, optax.GradientTransformation] = {
        GENERATOR: optax.sgd(step_size),
        DISCRIMINATOR: optax.sgd(step_size),
    }
    if game.clip is not None:
        projection = project_to_box(-game.clip, game.clip)
        descent[DISCRIMINATOR] = optax.chain(descent[DISCRIMINATOR], projection)
    return descent


def project_to_box(low: float, high: float) -> optax.GradientTransformation:
    """Make the last link of an optax chain that keeps every parameter in [low, high].

    Weight clipping of Arjovsky et al. 2017, algorithm 1, line 7, as projected gradient descent.

    Args:
        low: smallest value of a parameter.
        high: largest value.

    Returns:
        The transformation of updates.
    """

    def project(update: Array, param: Array) -> Array:
        projected = jnp.clip(param + update, low, high)
        return projected - param

    def project_all(updates: PyTree, params: PyTree) -> PyTree:
        return jax.tree.map(project, updates, params)

    return optax.stateless(project_all)


def half_consensus(theta: Array, psi: Array) -> Array:
    """Compute a consensus term whose gradient counts f' only once.

    (theta^2 + psi^2) / 2 f'(t) stop_gradient(f'(t)) at t = psi theta, f'(t) = sigmoid(-t).

    The value is ||v||^2 / 2 of the saturating game, whose gradient is the consensus term of
    Mescheder, Nowozin and Geiger 2017 (`training.consensus`). The public notebook halves the part
    of that gradient that comes from f'; holding one of the two factors constant does the same. The
    two terms agree to first order at the equilibrium, not elsewhere.

    Args:
        theta: [*B], the generator's parameter.
        psi: [*B], the discriminator's parameter.

    Returns:
        [*B].
    """
    slope = jax.nn.sigmoid(-psi * theta)
    half_squared_norm = (jnp.square(theta) + jnp.square(psi)) / 2
    return half_squared_norm * slope * jax.lax.stop_gradient(slope)


def dirac_spectrum(game: DiracGame, dynamics: str, step_size: float) -> np.ndarray:
    """Compute the eigenvalues of one gradient step at the equilibrium (0, 0).

    Near (0, 0) both losses' gradients are A w with A = [[0, s], [-s, gamma]] for w = (theta, psi):
    s = f'(0) = 1/2 for the GAN and the non-saturating GAN, 1 for the WGAN, gamma from R1 (Mescheder
    et al. 2018, sections 2 and 4).

    Args:
        game: the variant.
        dynamics: a name of `training.DYNAMICS`; under "optimistic" the step also carries the
            previous gradient.
        step_size: of both players.

    Returns:
        complex128[N], from linear algebra alone; NaN for the gradient penalty, which has no
        derivative there.
    """
    if game.penalty == "gradient_penalty":
        return np.full(2, complex(np.nan, np.nan))
    slope = 1.0 if game.loss == "wasserstein" else 0.5
    gamma = game.weight if game.penalty == "r1" else 0.0
    field = np.array([[0.0, slope], [-slope, gamma]])
    field = field + game.half_consensus * field.T @ field
    consensus_field = field + field.T @ field
    one = np.eye(2)
    h = step_size
    step = one - h * field
    only_generator = np.diag([1, 0])
    only_discriminator = np.diag([0, 1])
    step_of_generator = one - h * only_generator @ field
    step_of_discriminator = one - h * only_discriminator @ field
    matrices = {
        "simultaneous": step,
        "alternating": step_of_discriminator @ step_of_generator,
        "consensus": one - h * consensus_field,
        "extragradient": one - h * field @ step,
        "optimistic": np.block([[one - 2 * h * field, h * field], [one, 0 * one]]),
    }
    return sorted_eigenvalues(matrices[dynamics])


def sorted_eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Compute the eigenvalues of a real matrix in a fixed order.

    Args:
        matrix: [N, N].

    Returns:
        complex128[N], largest modulus first, and of a conjugate pair the one above the real axis
        first.
    """
    values = np.linalg.eigvals(matrix).astype(complex)
    moduli = np.abs(values).round(9)
    order = np.lexsort((-np.imag(values), -moduli))
    return values[order]
