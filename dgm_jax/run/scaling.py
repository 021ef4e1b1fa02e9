"""How long a step takes on so many devices of a kind, what bounds it, and how many seeds fit.

A roofline: a device computes at its published rates while it reads and writes at its published
bandwidth, whichever takes longer, and then exchanges what the batch's devices have to sum.
"""

import math
import time
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from dgm_jax.parallel import Kind, split_devices
from dgm_jax.run.costs import StepCost

Precision = Literal["default", "float32", "bfloat16"]


class Times(NamedTuple):
    """Seconds of one step on one device.

    Attributes:
        arithmetic: of products and other operations.
        memory: of reading and writing.
        exchange: of sums and joined batches along "data".
    """

    arithmetic: float
    memory: float
    exchange: float

    @property
    def step(self) -> float:
        """Seconds of a step."""
        return max(self.arithmetic, self.memory) + self.exchange

    @property
    def bound(self) -> str:
        """What takes longest: "arithmetic", "memory" or "interconnect"."""
        names = ("arithmetic", "memory", "interconnect")
        return max(zip(self, names, strict=True))[1]


class Spread(NamedTuple):
    """A group of arms on so many devices.

    Attributes:
        num_devices: in all.
        mesh: devices along "seed" and along "data".
        times: of a step; None where the batch cannot be shared evenly.
        seeds_per_second: steps a second, over all lanes; 0 likewise.
    """

    num_devices: int
    mesh: tuple[int, int]
    times: Times | None
    seeds_per_second: float


def spread(cost: StepCost, kind: Kind, num_devices: int, precision: Precision) -> Spread:
    """Spreads a group over devices as `parallel.distribute` does.

    Args:
        cost: of its step.
        kind: of the devices.
        num_devices: how many.
        precision: of products.

    Returns:
        The mesh and the times of a device all of whose places have lanes or padding.
    """
    mesh = split_devices(cost.num_lanes, num_devices)
    on_each = math.ceil(cost.num_lanes / mesh[0])
    if mesh[1] > 1 and (not cost.batch_size or cost.batch_size % (mesh[1] * cost.microbatches)):
        return Spread(num_devices, mesh, None, 0.0)
    times = step_times(cost, kind, on_each, mesh[1], precision)
    return Spread(num_devices, mesh, times, cost.num_lanes / times.step)


def step_times(
    cost: StepCost, kind: Kind, num_lanes: int, num_sharing: int, precision: Precision
) -> Times:
    """Estimates a step on one device.

    Args:
        cost: of one lane's step.
        kind: of the device.
        num_lanes: lanes on the device.
        num_sharing: N, the devices that share each batch.
        precision: of products.

    Returns:
        The times. Sums go around a ring, so that a device sends 2 (N - 1) / N of their bytes;
        joined batches 1 - 1 / N of theirs. Where N exceeds the kind's domain, the ring passes
        through the slower links.
    """
    own = cost.fixed.plus(cost.example, cost.batch_size / num_sharing)
    rate = {
        "default": kind.product,
        "float32": kind.float32 or kind.product,
        "bfloat16": kind.bfloat16,
    }[precision]
    others = own.others / kind.float32 if kind.float32 else 0.0
    part = 1 - 1 / num_sharing
    sent = part * (2 * cost.summed_bytes + cost.joined_bytes)
    links = kind.interconnect
    if num_sharing > kind.domain:
        links = min(links, kind.outside or links)
    return Times(
        num_lanes * (own.products / rate + others),
        num_lanes * own.moved / kind.bandwidth,
        num_lanes * sent / links,
    )


def paying_devices(cost: StepCost, kind: Kind, precision: Precision) -> int:
    """Determines over how many devices sharing the batch of one lane still shortens its step.

    Args:
        cost: of the step.
        kind: of the devices.
        precision: of products.

    Returns:
        The largest power of 2 that divides each microbatch for which the step is shorter than with
        half as many; 1 where two devices take longer than one.
    """
    sharing = 1
    before = step_times(cost, kind, 1, 1, precision).step
    while cost.batch_size and cost.batch_size % (2 * sharing * cost.microbatches) == 0:
        after = step_times(cost, kind, 1, 2 * sharing, precision).step
        if after >= before:
            break
        sharing, before = 2 * sharing, after
    return sharing


def paying_batch(cost: StepCost, kind: Kind, precision: Precision) -> float | None:
    """Determines the batch from which two devices are faster than one.

    Args:
        cost: of the step.
        kind: of the devices.
        precision: of products.

    Returns:
        The number of examples; None if no power of 2 up to 2^30 is enough.
    """
    for power in range(1, 31):
        larger = cost.with_batch(2**power)
        one = step_times(larger, kind, 1, 1, precision).step
        if step_times(larger, kind, 1, 2, precision).step < one:
            return float(2**power)
    return None


def fitting_seeds(cost: StepCost, kind: Kind) -> int:
    """Determines how many lanes fit on one device by the formulas.

    Args:
        cost: of the step.
        kind: of the device.

    Returns:
        The memory that the data leave, over state and intermediate results of one lane with its
        whole batch, or one microbatch of it. XLA reuses memory, so more may fit.
    """
    each = cost.state_bytes + cost.whole.kept
    return max(0, int((kind.memory - cost.data_bytes) / each))


def this_machine(memory: float, rounds: int = 3) -> Kind:
    """Measures what this machine's devices compute and move, as a kind.

    Args:
        memory: bytes of one device.
        rounds: of each measurement; the fastest counts.

    Returns:
        The kind: rates of a product of square matrices (of 1,024 rows on a CPU, 8,192 elsewhere)
        and of a polynomial of degree 32 of 2^24 numbers, bandwidth of adding one to them. CPU
        devices of one process share their memory, so what they exchange passes at that bandwidth.
    """
    device = jax.devices()[0]
    size = 1024 if device.platform == "cpu" else 8192
    matrix = jnp.ones((size, size), jnp.float32)
    product = 2.0 * size**3 / _fastest(lambda x: x @ x, matrix, rounds)
    half = 2.0 * size**3 / _fastest(lambda x: x @ x, matrix.astype(jnp.bfloat16), rounds)
    vector = jnp.ones((2**24,), jnp.float32)
    bandwidth = 2 * vector.nbytes / _fastest(lambda x: x + 1, vector, rounds)
    polynomial = lambda x: jnp.polyval(jnp.full(33, 0.5, jnp.float32), x, unroll=32)
    others = 64.0 * vector.size / _fastest(polynomial, vector, rounds)
    return Kind(
        f"this machine, {len(jax.devices())} x {device.device_kind}",
        others,
        product,
        half,
        memory,
        bandwidth,
        bandwidth,
        len(jax.devices()),
        None,
        "measured just now",
    )


def _fastest(function, argument: jax.Array, rounds: int) -> float:
    """Seconds of the fastest of some calls after one that compiles."""
    call = jax.jit(function)
    call(argument).block_until_ready()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call(argument).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
