"""The platform that programs are for: that of the devices, or another one to lower for."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from dgm_jax.core import PLATFORMS, lookup, require

Devices = Sequence[Any]  # each a `jax.Device`, which type checkers do not take for a type


class Target(NamedTuple):
    """What programs are for.

    Attributes:
        platform: name of the platform.
        elsewhere: None where the available devices are of that platform. Otherwise its name again:
            programs can be lowered but not compiled, and the available devices stand in for as many
            of that platform.
    """

    platform: str
    elsewhere: str | None


def platform_of(devices: Devices) -> str:
    """Return the platform that all devices share.

    Args:
        devices: at least one device.

    Returns:
        Its name as JAX has it, such as "cpu" or "gpu".

    Raises:
        ConfigError: no devices, or devices of several platforms.
    """
    names = sorted({device.platform for device in devices})
    require(len(names) == 1, f"only must hold devices of one platform, got {names or 'none'}")
    return names[0]


def target(platform: str | None, devices: Devices) -> Target:
    """Return the target of programs on these devices.

    Args:
        platform: name of the platform; None for that of the devices.
        devices: at least one device, all of one platform.

    Returns:
        The target.

    Raises:
        ConfigError: an unknown platform, or "gpu" without a GPU, where it has to be "cuda" or
            "rocm".
    """
    available = platform_of(devices)
    if platform in (None, available) or (available == "gpu" and platform == _maker(devices)):
        return Target(available, None)
    lookup(PLATFORMS, platform, "platform")
    require(platform != "gpu", "programs for gpu are of two kinds: ask for 'cuda' or for 'rocm'")
    return Target(platform, platform)


def _maker(devices: Devices) -> str:
    """Return the platform of a GPU by its maker, "cuda" or "rocm"."""
    return "rocm" if "rocm" in devices[0].client.platform_version.lower() else "cuda"


def lower(to: Target, function: Any, *arguments: Any) -> jax.stages.Lowered:
    """Lower a jitted function for a target.

    Args:
        to: what the program is for.
        function: from `jax.jit` or `jax.pmap`.
        *arguments: its arguments, or their shapes.

    Returns:
        The lowered program.
    """
    if to.elsewhere is None:
        return function.lower(*arguments)
    return function.trace(*arguments).lower(lowering_platforms=(to.elsewhere,))


def lower_if_any(to: Target, function: Any, *arguments: Any) -> jax.stages.Lowered | None:
    """Lower a jitted function for a target, unless it returns nothing.

    Args:
        to: what the program is for.
        function: from `jax.jit`.
        *arguments: its arguments, or their shapes.

    Returns:
        The lowered program, or None.
    """
    lowered = lower(to, function, *arguments)
    return lowered if jax.tree.leaves(lowered.out_info) else None


def shapes(functions: Sequence[Any], *arguments: Any) -> list[Any]:
    """Trace functions of the same arguments.

    Args:
        functions: what is traced.
        *arguments: their arguments, or shapes.

    Returns:
        The shapes of each one's results.
    """
    return [jax.eval_shape(function, *arguments) for function in functions]


def lower_to_compile(to: Target, function: Any, *arguments: Any) -> jax.stages.Lowered:
    """Lower a jitted function that is to be compiled.

    Args:
        to: what the program is for.
        function: from `jax.jit` or `jax.pmap`.
        *arguments: its arguments, or their shapes.

    Returns:
        The lowered program.

    Raises:
        ConfigError: there are no devices of the target's platform.
    """
    require(
        to.elsewhere is None,
        f"no {to.elsewhere} is at hand to compile for: `lower_advance` gives the lowered program,"
        " and without `platform` programs are for the devices",
    )
    return lower(to, function, *arguments)
