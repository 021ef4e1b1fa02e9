"""The guard against wrong sums on the CPU: the one place that says which jaxlib gets which flag.

From 0.10.2 on, jaxlib hands reductions on the CPU to YNNPACK, and some come out wrong (a product
with a constant matrix, then times x, then a sum: off by its own size, up to NaN) or end the
process. `--xla_cpu_experimental_ynn_fusion_type=-reduce` takes reductions away from YNNPACK and
cures every known case; `dgm_jax.probe` holds them, and benchmarks/README.md what it found by
version. XLA reads XLA_FLAGS once, when the first backend starts, so `dgm_jax/__init__.py` calls
`guard` at import; nothing here imports JAX before it is needed.

The other parts are about speed, by the measurements in benchmarks/README.md.
`-individual_convolution` takes convolutions from YNNPACK, whose gradients of weights are slow.
`-individual_dot` takes lone products from it, on 0.10.2 only: there YNNPACK takes 1.5 times as long
for products in a scan, and a fifth longer for eight ring GANs by vmap. On 0.12.0.1 it is YNNPACK
that is faster: at both (10 and 17 %), at one ring GAN (8 %) and at a large lone product (twice).
"""

import functools
import importlib.metadata
import os
import re
import sys
import warnings

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
CURE = "-reduce"

# (first, last, value): the versions of jaxlib that were probed, and what the flag is set to; ""
# where the sums are right without it. XLA aborts on a flag or a value that it does not know, so a
# version outside of this table gets none.
VALUES = (
    ((0, 10, 0), (0, 10, 1), ""),
    ((0, 10, 2), (0, 10, 2), f"{CURE},-individual_convolution,-individual_dot"),
    ((0, 11, 0), (0, 12, 0, 1), f"{CURE},-individual_convolution"),
)


def parse_version(text: str) -> tuple[int, ...]:
    """Parses the version of a plain release.

    Args:
        text: such as "0.12.0.1".

    Returns:
        (0, 12, 0, 1) for that; () for a version that is not a plain release.
    """
    release = text.partition("+")[0]
    if not re.fullmatch(r"\d+(\.\d+)*", release):
        return ()
    return tuple(int(part) for part in release.split("."))


def flag_value(version: str) -> str | None:
    """The flag's value for a version of jaxlib.

    Args:
        version: of jaxlib.

    Returns:
        "" if the version needs no flag, None if it is not in the table.
    """
    number = parse_version(version)
    for first, last, value in VALUES:
        if first <= number <= last:
            return value
    return None


def user_value(flags: str) -> str | None:
    """The value that the user has already set the flag to.

    Args:
        flags: the text of XLA_FLAGS.

    Returns:
        The value; None if the flag is not set.
    """
    values = re.findall(rf"{FLAG}=(\S*)", flags)
    return values[-1].strip("\"'") if values else None


def leaves_reductions(value: str) -> bool:
    """Whether a value of the flag leaves reductions with YNNPACK.

    Items with a sign change XLA's default list, which has `reduce`; plain items replace it.

    Args:
        value: items separated by commas.

    Returns:
        True or False.
    """
    items = [item.lower() for item in value.split(",") if item]
    if any(item[0] in "+-" for item in items):
        return CURE not in items
    return "reduce" in items


def guard() -> None:
    """Sets the flag in XLA_FLAGS where this jaxlib needs it; warns where it cannot help."""
    version = installed_version()
    value = flag_value(version)
    if value == "" or not may_use_cpu():
        return
    if value is None:
        _warn(
            f"dgm_jax does not know jaxlib {version}, and jaxlib 0.10.2 to 0.12.0.1 compute some"
            " sums of products wrong on CPU: `python -m dgm_jax.probe` says whether this one does."
        )
        return
    flags = os.environ.get("XLA_FLAGS", "").strip()
    wrong = f"jaxlib {version} computes some sums of products wrong on CPU"
    by_user = user_value(flags)
    if by_user is not None:
        if leaves_reductions(by_user):
            _warn(f"{wrong}, and XLA_FLAGS has {FLAG}={by_user}: add {CURE} to it.")
    elif started_platform() is not None:
        # Set now, the flag would not act, but stand in the run's record and in the key under which
        # JAX caches compiled programs.
        if started_platform() == "cpu":
            _warn(
                f"{wrong}, and JAX was started before dgm_jax was imported, too early for the cure:"
                f" import dgm_jax before the first JAX computation, or set XLA_FLAGS={FLAG}={CURE}."
            )
    elif flags and not flags.startswith("-"):
        _warn(f"{wrong}: add {FLAG}={CURE} to the file that XLA_FLAGS names, {flags}.")
    else:
        os.environ["XLA_FLAGS"] = f"{flags} {FLAG}={value}".strip()


@functools.cache
def check_once(platform: str) -> None:
    """Warns if sums are wrong on a jaxlib that the table does not know.

    Called before the first compilation for a platform. Costs nothing on a version in the table or
    for another platform than "cpu".

    Args:
        platform: such as "cpu".
    """
    version = installed_version()
    if platform != "cpu" or flag_value(version) is not None:
        return
    from dgm_jax import probe

    wrong = probe.wrong(probe.relative_errors(probe.SILENT))
    if wrong:
        listed = ", ".join(f"{name} (relative error {error:.1e})" for name, error in wrong.items())
        _warn(
            f"jaxlib {version} computes wrong sums on CPU: {listed}. Set XLA_FLAGS={FLAG}={CURE} if"
            " this version knows it, or install jaxlib 0.12.0.1 or older."
        )


def installed_version() -> str:
    """The version of jaxlib, without importing it."""
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return "without metadata"


def may_use_cpu() -> bool:
    """Whether JAX_PLATFORMS leaves it possible that JAX computes on the CPU."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    return not platforms or "cpu" in platforms.split(",")


def started_platform() -> str | None:
    """The platform JAX computes on, or None while it has started none; starts nothing."""
    bridge = sys.modules.get("jax._src.xla_bridge")
    started = getattr(bridge, "backends_are_initialized", None)
    if started is None or not started():
        return None
    return sys.modules["jax"].default_backend()


def _warn(message: str) -> None:
    """A RuntimeWarning at the line that imports dgm_jax, or that calls `check_once`."""
    warnings.warn(message, RuntimeWarning, stacklevel=4)
