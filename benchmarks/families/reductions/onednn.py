"""By oneDNN's convolution, whatever the number of channels."""

from benchmarks.contract import Case
from benchmarks.families._shared import engine as shared
from benchmarks.families.reductions import operands
from dgm_jax.native import onednn
from dgm_jax.networks.layers.maps import INPUT_GRADIENT


def image_gradient(size: int, channels: int, batch: int) -> Case:
    """One call."""
    reason = onednn.why_not()
    if reason:
        raise ImportError(reason)
    y, kernel, geometry = operands.convolution(size, channels, batch)
    shape = (1, batch, size, size, channels)
    which, stride, before = INPUT_GRADIENT, geometry.stride, geometry.before
    gradient = lambda y, w: onednn.convolution(y, w, shape, which, stride, before)
    return shared.compiled(gradient, y, kernel)
