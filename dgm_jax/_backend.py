"""The guard against wrong sums on the CPU, which knows the XLA flag that each jaxlib needs.

From 0.10.2 on, jaxlib hands reductions on the CPU to YNNPACK, and some of them give wrong results
(a product with a constant matrix, then times x, then a sum: off by its own size, up to NaN) or end
the process. `--xla_cpu_experimental_ynn_fusion_type=-reduce` takes reductions away from YNNPACK and
cures every known case. `dgm_jax.probe` has these cases, and benchmarks/README.md has its results by
version. XLA reads XLA_FLAGS once, when the first backend starts, so `dgm_jax/__init__.py` calls
`guard` at import; nothing in this module imports JAX before it is needed.

The other parts of the flag are about speed, by the measurements in benchmarks/README.md.
`-individual_convolution` takes convolutions from YNNPACK, whose gradients of weights are slow.
`-individual_dot` takes single products from it, on 0.10.2 only: in that version YNNPACK takes 1.5
times as long for products in a scan, and a fifth longer for eight ring GANs by vmap. In 0.12.0.1
YNNPACK is the faster one: for both of these (10 and 17 %), for one ring GAN (8 %) and for a large
single product (twice as fast).
"""

import functools
import importlib.metadata
import os
import re
import sys
import warnings

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
CURE = "-reduce"

# (first, last, value): the versions of jaxlib that were probed, and the value of the flag for them;
# "" where the sums are right without it. XLA aborts on a flag or a value that it does not know, so
# the flag is not set for a version outside of this table.
VALUES = (
    ((0, 10, 0), (0, 10, 1), ""),
    ((0, 10, 2), (0, 10, 2), f"{CURE},-individual_convolution,-individual_dot"),
    ((0, 11, 0), (0, 12, 0, 1), f"{CURE},-individual_convolution"),
)


def parse_version(text: str) -> tuple[int, ...]:
    """Parse the version of a release.

    Args:
        text: a version, whose part after "+" is ignored.

    Returns:
        Its numbers, such as (0, 12, 0, 1) for "0.12.0.1"; () if it is not a plain release.
    """
    release = text.partition("+")[0]
    if not re.fullmatch(r"\d+(\.\d+)*", release):
        return ()
    return tuple(int(part) for part in release.split("."))


def flag_value(version: str) -> str | None:
    """Look up the value of the flag for a version of jaxlib.

    Args:
        version: a version of jaxlib.

    Returns:
        The value; "" if this version needs none, None if it is not in the table.
    """
    number = parse_version(version)
    for first, last, value in VALUES:
        if first <= number <= last:
            return value
    return None


def user_value(flags: str) -> str | None:
    """Find the value that XLA_FLAGS already gives to the flag.

    Args:
        flags: the text of XLA_FLAGS.

    Returns:
        The value, or None if the flag is not set.
    """
    values = re.findall(rf"{FLAG}=(\S*)", flags)
    return values[-1].strip("\"'") if values else None


def leaves_reductions(value: str) -> bool:
    """Return whether a value of the flag leaves reductions with YNNPACK.

    Items with a sign change XLA's default list, which has `reduce`; plain items replace it.

    Args:
        value: the items, separated by commas.

    Returns:
        True if reductions may be computed by YNNPACK.
    """
    items = [item.lower() for item in value.split(",") if item]
    if any(item[0] in "+-" for item in items):
        return CURE not in items
    return "reduce" in items


def guard() -> None:
    """Set the flag in XLA_FLAGS if this jaxlib needs it; warn where that would not help."""
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
        # If it were set now, the flag would have no effect, but would appear in the run's record
        # and in the key under which JAX caches compiled programs.
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
    """Warn if sums are wrong with a jaxlib that the table does not know.

    To be called before the first compilation for a platform. Costs nothing for a version in the
    table or for another platform than "cpu".

    Args:
        platform: name of the platform.
    """
    version = installed_version()
    if platform != "cpu" or flag_value(version) is not None:
        return
    from dgm_jax import probe

    wrong = probe.wrong(probe.relative_errors(probe.SILENT))
    if wrong:
        cases = ", ".join(f"{name} (relative error {error:.1e})" for name, error in wrong.items())
        _warn(
            f"jaxlib {version} computes wrong sums on CPU: {cases}. Set XLA_FLAGS={FLAG}={CURE} if"
            " this version knows it, or install jaxlib 0.12.0.1 or older."
        )


def installed_version() -> str:
    """Return the version of jaxlib without importing it.

    Returns:
        The version, or "without metadata" if it is not known.
    """
    try:
        return importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        return "without metadata"


def may_use_cpu() -> bool:
    """Return whether JAX_PLATFORMS allows JAX to compute on the CPU.

    Returns:
        True if it is not set, or names "cpu".
    """
    platforms = os.environ.get("JAX_PLATFORMS", "")
    return not platforms or "cpu" in platforms.split(",")


def started_platform() -> str | None:
    """Return the platform that JAX computes on, without starting one.

    Returns:
        Its name, or None while JAX has not started any.
    """
    bridge = sys.modules.get("jax._src.xla_bridge")
    started = getattr(bridge, "backends_are_initialized", None)
    if started is None or not started():
        return None
    return sys.modules["jax"].default_backend()


def _warn(message: str) -> None:
    """Give a RuntimeWarning at the line that imports dgm_jax or calls `check_once`."""
    warnings.warn(message, RuntimeWarning, stacklevel=4)
