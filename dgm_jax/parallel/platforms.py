"""The platform that programs are for: that of the devices, or another that they are lowered for."""

from typing import NamedTuple

import jax

from dgm_jax.core import PLATFORMS, lookup, require


class Target(NamedTuple):
    """What programs are for.

    platform: by name.
    elsewhere: None where the devices at hand are of it. Else its name again: programs can be
        lowered and not compiled, and the devices at hand stand in for as many of that platform.
    """

    platform: str
    elsewhere: str | None


def platform_of(devices) -> str:
    """The one platform of these devices. Raises ConfigError where there is none or several."""
    found = sorted({device.platform for device in devices})
    require(len(found) == 1, f"only must hold devices of one platform, got {found or 'none'}")
    return found[0]


def target(platform: str | None, devices) -> Target:
    """The target of programs on these devices for a platform; None for that of the devices.

    Raises ConfigError for an unknown platform, and for "gpu" elsewhere, which is "cuda" or "rocm".
    """
    here = platform_of(devices)
    if platform in (None, here) or (here == "gpu" and platform == _maker(devices)):
        return Target(here, None)
    lookup(dict.fromkeys(PLATFORMS), platform, "platform")
    require(platform != "gpu", "programs for gpu are of two kinds: ask for 'cuda' or for 'rocm'")
    return Target(platform, platform)


def _maker(devices) -> str:
    """ "cuda" or "rocm"."""
    return "rocm" if "rocm" in devices[0].client.platform_version.lower() else "cuda"


def lower(to: Target, function, *arguments) -> jax.stages.Lowered:
    """The program of a jitted function for the target."""
    if to.elsewhere is None:
        return function.lower(*arguments)
    return function.trace(*arguments).lower(lowering_platforms=(to.elsewhere,))


def compiled(to: Target, function, *arguments) -> jax.stages.Compiled:
    """The compiled program of a jitted function. Raises ConfigError where its platform is not at
    hand."""
    require(
        to.elsewhere is None,
        f"no {to.elsewhere} is at hand to compile for: `lower_advance` gives the lowered program,"
        " and without `platform` programs are for the devices",
    )
    return function.lower(*arguments).compile()
