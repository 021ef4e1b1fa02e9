"""2-D toy densities by name, each with an exact sampler and an exact, normalized log-density.

This module has those by change of variables and in closed form; mixtures of Gaussians are in
`mixtures2d` and `curves2d`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Key, Registry, normal, require, uniform
from dgm_jax.data.curves2d import spiral, two_moons, two_spirals
from dgm_jax.data.dataset import Density2D
from dgm_jax.data.limits2d import count, finite, positive
from dgm_jax.data.mixtures2d import grid, log_of, mixture, ring

MAX_SIDE = 2**10  # of a checkerboard


def circles(radii: tuple[float, ...] = (1.0, 2.0), scale: float = 0.1) -> Density2D:
    """Concentric circles, equally likely, blurred by N(0, scale^2 I).

    With r = |x|, a circle of radius R has the density (2-D Rice distribution) p(x) = exp(-(r - R)^2
    / (2 s^2)) i0e(r R / s^2) / (2 pi s^2), i0e(t) = exp(-t) I_0(t).

    Args:
        radii: radii R of the circles.
        scale: standard deviation s of the blur.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for numbers that are not positive, or too many circles.
    """
    scale = positive(scale, "scale")
    require(
        isinstance(radii, (tuple, list, np.ndarray)),
        f"radii must be several numbers, got {radii!r}",
    )
    num_circles = len(radii)
    count(num_circles, "the number of radii")
    radii = tuple(positive(radius, "each of radii") for radius in radii)
    radius = jnp.asarray(radii, jnp.float32)
    log_peak = log_of(2 * math.pi * scale**2)
    log_normalizer = log_peak + math.log(num_circles)

    def sample(key: Key, n: int) -> Array:
        key_circle, key_angle, key_noise = jax.random.split(key, 3)
        angle = uniform(key_angle, (n,), maxval=2 * math.pi)
        which = jax.random.randint(key_circle, (n,), 0, num_circles)
        cos = jnp.cos(angle)
        sin = jnp.sin(angle)
        directions = jnp.stack([cos, sin], axis=-1)
        points = radius[which, None] * directions
        noise = normal(key_noise, (n, 2))
        return points + scale * noise

    def log_prob(x: Array) -> Array:
        r = _length(x)[..., None]
        bessel = jax.scipy.special.i0e(r * radius / scale**2)
        log_bessel = jnp.log(bessel)
        distance = (r - radius) / scale
        terms = -0.5 * distance**2 + log_bessel
        log_sum = jax.nn.logsumexp(terms, axis=-1)
        return log_sum - log_normalizer

    return Density2D(sample, log_prob)


def pinwheel(
    num_arms: int = 5,
    radial_scale: float = 0.3,
    tangential_scale: float = 0.1,
    twist: float = 1.0,
) -> Density2D:
    """Arms of a pinwheel (after Johnson et al. 2016) with an exact density.

    In the frame of arm k a point u ~ N((1, 0), diag(radial_scale^2, tangential_scale^2)) is rotated
    by the angle 2 pi k / num_arms + twist |u|. Rotating by a function of the radius preserves
    areas, so p(x) = mean_k N(u_k(x)); the usual recipe rotates by exp(u_0), which has no
    closed-form inverse.

    Args:
        num_arms: number of arms.
        radial_scale: standard deviation along an arm.
        tangential_scale: standard deviation across an arm.
        twist: angle in radians per unit of radius.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for scales that are not positive, or too many arms.
    """
    num_arms = count(num_arms, "num_arms")
    twist = finite(twist, "twist")
    radial_scale = positive(radial_scale, "radial_scale")
    tangential_scale = positive(tangential_scale, "tangential_scale")
    scales = jnp.array([radial_scale, tangential_scale], float)
    center = jnp.array([1.0, 0.0], jnp.float32)
    even_angles = 2 * np.pi * np.arange(num_arms) / num_arms
    angles = jnp.asarray(even_angles, jnp.float32)
    log_peak = log_of(2 * math.pi * radial_scale * tangential_scale)
    log_normalizer = log_peak + math.log(num_arms)

    def sample(key: Key, n: int) -> Array:
        key_arm, key_noise = jax.random.split(key)
        noise = normal(key_noise, (n, 2))
        u = center + scales * noise
        which = jax.random.randint(key_arm, (n,), 0, num_arms)
        rotation = angles[which] + twist * _length(u)
        return _rotate(u, rotation)

    def log_prob(x: Array) -> Array:
        radius = _length(x)[..., None]
        rotation = angles + twist * radius
        u = _rotate(x[..., None, :], -rotation)
        noise = (u - center) / scales
        squares = jnp.sum(noise**2, axis=-1)
        log_sum = jax.nn.logsumexp(-0.5 * squares, axis=-1)
        return log_sum - log_normalizer

    return Density2D(sample, log_prob)


def checkerboard(side: int = 4, width: float = 2.0) -> Density2D:
    """Uniform on the cells (i, j) with i + j even of a side x side board centered on the origin.

    log p = -log(number of cells * width^2) on a cell, and -inf elsewhere.

    Args:
        side: number of cells along a side.
        width: width of a cell.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for a side outside 1..1024, or a width that is not positive.
    """
    side = count(side, "side", MAX_SIDE)
    width = positive(width, "width")
    even_cells = []
    for i in range(side):
        for j in range(side):
            if (i + j) % 2 == 0:
                even_cells.append((i, j))
    num_cells = len(even_cells)
    cells = np.array(even_cells, np.float32)
    corners = jnp.asarray(cells)
    half = side / 2
    area = num_cells * width**2
    log_density = -log_of(area)

    def sample(key: Key, n: int) -> Array:
        key_cell, key_place = jax.random.split(key)
        which = jax.random.randint(key_cell, (n,), 0, num_cells)
        # A millionth away from the border, so that rounding carries no sample into an empty cell.
        place = uniform(key_place, (n, 2), minval=2.0**-20, maxval=1 - 2.0**-20)
        points = corners[which] + place - half
        return points * width

    def log_prob(x: Array) -> Array:
        cell = jnp.floor(x / width + half)
        within = (cell >= 0) & (cell < side)
        on_board = jnp.all(within, axis=-1)
        is_even = jnp.sum(cell, axis=-1) % 2 == 0
        return jnp.where(on_board & is_even, log_density, -jnp.inf)

    return Density2D(sample, log_prob)


def banana(curvature: float = 0.5, scale_x: float = 1.0, scale_y: float = 0.3) -> Density2D:
    """A bent Gaussian: x ~ N(0, scale_x^2), y | x ~ N(curvature (x^2 - scale_x^2), scale_y^2).

    The shift has unit Jacobian (Haario, Saksman and Tamminen 1999); the mean is the origin.

    Args:
        curvature: of the parabola along which the mass lies.
        scale_x: standard deviation of x.
        scale_y: standard deviation of y given x.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for scales that are not positive, or a curvature that is not finite.
    """
    scale_x = positive(scale_x, "scale_x")
    scale_y = positive(scale_y, "scale_y")
    curvature = finite(curvature, "curvature")

    def bend(x: Array) -> Array:
        return curvature * (x**2 - scale_x**2)

    return _parabola(0.0, scale_x, scale_y, bend)


def rosenbrock(a: float = 0.5, b: float = 5.0, centre: float = 1.0) -> Density2D:
    """Density proportional to exp(-a (x - centre)^2 - b (y - x^2)^2).

    Pagani, Wiegand and Nadarajah 2022. So x ~ N(centre, 1 / (2 a)) and y | x ~ N(x^2, 1 / (2 b)),
    and the constant is sqrt(a b) / pi.

    Args:
        a: precision of x, over 2.
        b: precision of y given x, over 2.
        centre: mean of x.

    Returns:
        The density, without modes.

    Raises:
        ConfigError: for a or b that is not positive, or a centre that is not finite.
    """
    a = positive(a, "a")
    b = positive(b, "b")
    centre = finite(centre, "centre")
    scale_x = (2 * a) ** -0.5
    scale_y = (2 * b) ** -0.5
    return _parabola(centre, scale_x, scale_y, lambda x: x**2)


def _parabola(
    center: float, scale_x: float, scale_y: float, bend: Callable[[Array], Array]
) -> Density2D:
    """x ~ N(center, scale_x^2), y | x ~ N(bend(x), scale_y^2)."""
    log_normalizer = log_of(2 * math.pi * scale_x * scale_y)

    def sample(key: Key, n: int) -> Array:
        noise = normal(key, (n, 2))
        x = center + scale_x * noise[:, 0]
        y = bend(x) + scale_y * noise[:, 1]
        return jnp.stack([x, y], axis=-1)

    def log_prob(x: Array) -> Array:
        noise_x = (x[..., 0] - center) / scale_x
        mean_y = bend(x[..., 0])
        noise_y = (x[..., 1] - mean_y) / scale_y
        squares = noise_x**2 + noise_y**2
        return -0.5 * squares - log_normalizer

    return Density2D(sample, log_prob)


def _rotate(x: Array, angle: Array) -> Array:
    """Points [*B, 2] rotated about the origin, by an angle [*B] in radians."""
    cos = jnp.cos(angle)
    sin = jnp.sin(angle)
    first = cos * x[..., 0] - sin * x[..., 1]
    second = sin * x[..., 0] + cos * x[..., 1]
    return jnp.stack([first, second], axis=-1)


def _length(x: Array) -> Array:
    """|x| [*B], with a finite gradient at the origin."""
    squares = jnp.sum(x**2, axis=-1)
    # Without the inner where the gradient at 0 would be infinity times 0, which is NaN.
    safe = jnp.where(squares > 0, squares, 1.0)
    root = jnp.sqrt(safe)
    return jnp.where(squares > 0, root, 0.0)


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
