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
    along_seed, along_data = mesh
    lanes_on_each = math.ceil(cost.num_lanes / along_seed)
    if along_data > 1 and not _can_share(cost, along_data):
        return Spread(num_devices, mesh, None, 0.0)
    times = step_times(cost, kind, lanes_on_each, along_data, precision)
    seeds_per_second = cost.num_lanes / times.step
    return Spread(num_devices, mesh, times, seeds_per_second)


def _can_share(cost: StepCost, num_sharing: int) -> bool:
    """Whether so many devices can share each microbatch evenly."""
    if not cost.batch_size:
        return False
    num_parts = num_sharing * cost.microbatches
    return cost.batch_size % num_parts == 0


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
    num_examples = cost.batch_size / num_sharing
    work = cost.fixed.plus(cost.example, num_examples)
    rates = {
        "default": kind.product,
        "float32": kind.float32 or kind.product,
        "bfloat16": kind.bfloat16,
    }
    products = work.products / rates[precision]
    others = work.others / kind.float32 if kind.float32 else 0.0
    part = 1 - 1 / num_sharing
    exchanged = 2 * cost.summed_bytes + cost.joined_bytes
    sent = part * exchanged
    links = kind.interconnect
    if num_sharing > kind.domain:
        links = min(links, kind.outside or links)
    arithmetic = num_lanes * (products + others)
    memory = num_lanes * work.moved / kind.bandwidth
    exchange = num_lanes * sent / links
    return Times(arithmetic, memory, exchange)


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
    while _can_share(cost, 2 * sharing):
        after = step_times(cost, kind, 1, 2 * sharing, precision).step
        if after >= before:
            break
        sharing = 2 * sharing
        before = after
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
        batch_size = 2**power
        larger = cost.with_batch(batch_size)
        on_one = step_times(larger, kind, 1, 1, precision)
        on_two = step_times(larger, kind, 1, 2, precision)
        if on_two.step < on_one.step:
            return float(batch_size)
    return None


def fitting_seeds(cost: StepCost, kind: Kind) -> int:
    """Determines how many lanes fit on one device by the formulas.

    Args:
        cost: of the step.
        kind: of the device.

    Returns:
        The memory that the data leave, over twice the state (the present one and the one to go back
        to, see `dgm_jax.training.attempts`) and the intermediate results of one lane with its whole
        batch, or one microbatch of it. XLA reuses memory, so more may fit.
    """
    each = 2 * cost.state_bytes + cost.whole.kept
    free = kind.memory - cost.data_bytes
    return max(0, int(free / each))


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
    num_devices = len(jax.devices())
    size = 1024 if device.platform == "cpu" else 8192
    matrix = jnp.ones((size, size), jnp.float32)
    square = lambda x: x @ x
    num_operations = 2.0 * size**3
    product = num_operations / _fastest(square, matrix, rounds)
    half = num_operations / _fastest(square, matrix.astype(jnp.bfloat16), rounds)
    vector = jnp.ones((2**24,), jnp.float32)
    bandwidth = 2 * vector.nbytes / _fastest(lambda x: x + 1, vector, rounds)
    others = 64.0 * vector.size / _fastest(_polynomial, vector, rounds)
    return Kind(
        name=f"this machine, {num_devices} x {device.device_kind}",
        float32=others,
        product=product,
        bfloat16=half,
        memory=memory,
        bandwidth=bandwidth,
        interconnect=bandwidth,
        domain=num_devices,
        outside=None,
        source="measured just now",
    )


def _polynomial(x: jax.Array) -> jax.Array:
    """A polynomial of degree 32, by 64 operations for each number."""
    coefficients = jnp.full(33, 0.5, jnp.float32)
    return jnp.polyval(coefficients, x, unroll=32)


def _fastest(function, argument: jax.Array, rounds: int) -> float:
    """Seconds of the fastest of some calls after one that compiles."""
    call = jax.jit(function)
    call(argument).block_until_ready()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call(argument).block_until_ready()
        end = time.perf_counter()
        seconds.append(end - start)
    return min(seconds)
