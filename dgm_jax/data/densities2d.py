"""2-D toy densities by name, each with an exact sampler and an exact, normalised log-density.

Here: those by change of variables and in closed form; `mixtures2d` has the mixtures of Gaussians.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, Registry, normal, require, uniform
from dgm_jax.data.dataset import Density2D
from dgm_jax.data.limits2d import count, finite, positive
from dgm_jax.data.mixtures2d import grid, log_of, mixture, ring, spiral, two_moons, two_spirals

MAX_SIDE = 2**10  # of a checkerboard


def circles(radii: tuple[float, ...] = (1.0, 2.0), scale: float = 0.1) -> Density2D:
    """Concentric circles, equally likely, blurred by N(0, scale^2 I).

    With r = |x|, a circle of radius R has the density (2-D Rice distribution)
    p(x) = exp(-(r - R)^2 / (2 s^2)) i0e(r R / s^2) / (2 pi s^2), i0e(t) = exp(-t) I_0(t).
    """
    scale = positive(scale, "scale")
    require(
        isinstance(radii, (tuple, list, np.ndarray)),
        f"radii must be several numbers, got {radii!r}",
    )
    count(len(radii), "the number of radii")
    radii = tuple(positive(radius, "each of radii") for radius in radii)
    radius = jnp.asarray(radii, jnp.float32)
    log_normalizer = log_of(2 * math.pi * scale**2) + math.log(len(radii))

    def sample(key: Key, n: int) -> Array:
        key_circle, key_angle, key_noise = jax.random.split(key, 3)
        angle = uniform(key_angle, (n,), maxval=2 * math.pi)
        which = jax.random.randint(key_circle, (n,), 0, len(radii))
        points = radius[which, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        return points + scale * normal(key_noise, (n, 2))

    def log_prob(x: Array) -> Array:
        r = _length(x)[..., None]
        bessel = jnp.log(jax.scipy.special.i0e(r * radius / scale**2))
        return (
            jax.nn.logsumexp(-0.5 * ((r - radius) / scale) ** 2 + bessel, axis=-1) - log_normalizer
        )

    return Density2D(sample, log_prob)


def pinwheel(
    num_arms: int = 5, radial_scale: float = 0.3, tangential_scale: float = 0.1, twist: float = 1.0
) -> Density2D:
    """Arms of a pinwheel (after Johnson et al. 2016) with an exact density.

    In the frame of arm k a point u ~ N((1, 0), diag(radial_scale^2, tangential_scale^2)) is turned
    by the angle 2 pi k / num_arms + twist |u|. Turning by a function of the radius keeps areas, so
    p(x) = mean_k N(u_k(x)); the usual recipe turns by exp(u_0), which has no closed inverse.
    """
    num_arms, twist = count(num_arms, "num_arms"), finite(twist, "twist")
    radial_scale = positive(radial_scale, "radial_scale")
    tangential_scale = positive(tangential_scale, "tangential_scale")
    scales = jnp.array([radial_scale, tangential_scale], float)
    centre = jnp.array([1.0, 0.0], jnp.float32)
    arms = jnp.asarray(2 * np.pi * np.arange(num_arms) / num_arms, jnp.float32)
    log_normalizer = log_of(2 * math.pi * radial_scale * tangential_scale) + math.log(num_arms)

    def sample(key: Key, n: int) -> Array:
        key_arm, key_noise = jax.random.split(key)
        u = centre + scales * normal(key_noise, (n, 2))
        which = jax.random.randint(key_arm, (n,), 0, num_arms)
        return _rotate(u, arms[which] + twist * _length(u))

    def log_prob(x: Array) -> Array:
        turned = arms + twist * _length(x)[..., None]
        u = _rotate(x[..., None, :], -turned)
        squares = jnp.sum(((u - centre) / scales) ** 2, axis=-1)
        return jax.nn.logsumexp(-0.5 * squares, axis=-1) - log_normalizer

    return Density2D(sample, log_prob)


def checkerboard(side: int = 4, width: float = 2.0) -> Density2D:
    """Uniform on the cells (i, j) with i + j even of a side x side board centred on the origin.

    log p = -log(number of cells * width^2) on a cell, and -inf elsewhere.
    """
    side, width = count(side, "side", MAX_SIDE), positive(width, "width")
    cells = np.array(
        [(i, j) for i in range(side) for j in range(side) if (i + j) % 2 == 0], np.float32
    )
    corners = jnp.asarray(cells)
    log_density = -log_of(len(cells) * width**2)

    def sample(key: Key, n: int) -> Array:
        key_cell, key_place = jax.random.split(key)
        which = jax.random.randint(key_cell, (n,), 0, len(cells))
        # Two parts in a million off the border: rounding must not carry a sample into an empty
        # cell.
        place = uniform(key_place, (n, 2), minval=2.0**-20, maxval=1 - 2.0**-20)
        return (corners[which] + place - side / 2) * width

    def log_prob(x: Array) -> Array:
        cell = jnp.floor(x / width + side / 2)
        inside = jnp.all((cell >= 0) & (cell < side), axis=-1) & (jnp.sum(cell, axis=-1) % 2 == 0)
        return jnp.where(inside, log_density, -jnp.inf)

    return Density2D(sample, log_prob)


def banana(curvature: float = 0.5, scale_x: float = 1.0, scale_y: float = 0.3) -> Density2D:
    """A bent Gaussian: x ~ N(0, scale_x^2), y | x ~ N(curvature (x^2 - scale_x^2), scale_y^2).

    The shift has unit Jacobian (Haario, Saksman and Tamminen 1999); the mean is the origin.
    """
    scale_x, scale_y = positive(scale_x, "scale_x"), positive(scale_y, "scale_y")
    curvature = finite(curvature, "curvature")
    return _parabola(0.0, scale_x, scale_y, lambda x: curvature * (x**2 - scale_x**2))


def rosenbrock(a: float = 0.5, b: float = 5.0, centre: float = 1.0) -> Density2D:
    """p proportional to exp(-a (x - centre)^2 - b (y - x^2)^2) (Pagani, Wiegand and Nadarajah
    2022).

    So x ~ N(centre, 1 / (2 a)) and y | x ~ N(x^2, 1 / (2 b)), and the constant is sqrt(a b) / pi.
    """
    a, b, centre = positive(a, "a"), positive(b, "b"), finite(centre, "centre")
    return _parabola(centre, (2 * a) ** -0.5, (2 * b) ** -0.5, lambda x: x**2)


def _parabola(centre: float, scale_x: float, scale_y: float, bend) -> Density2D:
    log_normalizer = log_of(2 * math.pi * scale_x * scale_y)

    def sample(key: Key, n: int) -> Array:
        noise = normal(key, (n, 2))
        x = centre + scale_x * noise[:, 0]
        return jnp.stack([x, bend(x) + scale_y * noise[:, 1]], axis=-1)

    def log_prob(x: Array) -> Array:
        along, across = (x[..., 0] - centre) / scale_x, (x[..., 1] - bend(x[..., 0])) / scale_y
        return -0.5 * (along**2 + across**2) - log_normalizer

    return Density2D(sample, log_prob)


def _rotate(x: Array, angle: Array) -> Array:
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack(
        [cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]], axis=-1
    )


def _length(x: Array) -> Array:
    # The inner where keeps the gradient at the origin finite: d sqrt(s) at 0 is infinite, times 0
    # is NaN.
    squares = jnp.sum(x**2, axis=-1)
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)


DENSITIES = Registry(
    "density",
    {
        f.__name__: f
        for f in (
            ring,
            grid,
            mixture,
            spiral,
            two_spirals,
            two_moons,
            circles,
            pinwheel,
            checkerboard,
            banana,
            rosenbrock,
        )
    },
)
