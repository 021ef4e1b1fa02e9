"""`dgm-jax plan`: what a run would need on so many devices of a kind, before there are any."""

import dataclasses

import jax

from dgm_jax.core import DgmError, require
from dgm_jax.parallel import KINDS, Kind
from dgm_jax.run.ablation import shared_inputs, variants
from dgm_jax.run.cells import Group, groups
from dgm_jax.run.costs import ProgramCost, StepCost, program_cost, step_cost
from dgm_jax.run.experiment import Inputs
from dgm_jax.run.launch import Job, folders_of
from dgm_jax.run.memory import memory_of
from dgm_jax.run.needs import finished_folder
from dgm_jax.run.scaling import (
    Spread,
    fitting_seeds,
    paying_batch,
    paying_devices,
    spread,
    this_machine,
)
from dgm_jax.run.settings import PlanConfig
from dgm_jax.terminal import console
from dgm_jax.terminal.texts import in_units

HERE = "here"


def plan(job: Job, settings: PlanConfig) -> int:
    """Prints what the steps of a run cost, and how they spread over devices of a kind.

    Args:
        job: the run.
        settings: devices and their kind.

    Returns:
        The exit code.
    """
    try:
        kind = kind_of(settings.kind)
        for number in settings.devices:
            require(1 <= number <= 2**20, f"devices must be from 1 to 2**20, got {number}")
        job = job.resolved()
        for sentence in job.chosen:
            print(sentence)
        found, inputs = untrained(job)
        pieces = job.launch.microbatches
        print(described(kind))
        for group in found:
            cost = step_cost(job.experiment, group, inputs, pieces)
            own = _with_own_precision(settings, group)
            print("\n".join(["", *cost_lines(cost), *spread_lines(cost, kind, own)]))
            if settings.compile:
                here = jax.devices()[:1]
                program = program_cost(job.experiment, group, inputs, here, pieces)
                print("\n".join(program_lines(cost, program)))
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    return 0


def _with_own_precision(settings: PlanConfig, group: Group) -> PlanConfig:
    """The settings, with products in the precision that the experiment is set to."""
    own = getattr(group.arms[0].config, "precision", None)
    if settings.products == "default" and own == "bfloat16":
        return dataclasses.replace(settings, products=own)
    return settings


def untrained(job: Job) -> tuple[list[Group], Inputs]:
    """Loads the data of a run without training what it needs.

    Args:
        job: the run.

    Returns:
        Its groups of arms, and its data; where a run that it needs is not there, something
        untrained of the same shapes.
    """
    job, cells = job.resolved().cells()
    experiment = job.experiment
    listed = variants(experiment, job.config, job.grid)
    needed = [folders_of(experiment, v.settings, finished_folder) for v in listed]
    return groups(experiment, cells), shared_inputs(experiment, listed, needed)


def kind_of(name: str) -> Kind:
    """Looks up a kind of device.

    Args:
        name: of `KINDS`, or "here" for this machine, which is measured.

    Returns:
        The kind.

    Raises:
        UnknownNameError: there is no such kind.
    """
    if name == HERE:
        return this_machine(memory_of(jax.devices()[0]).num_bytes)
    return KINDS[name]


def described(kind: Kind) -> str:
    """Describes a kind in two lines.

    Args:
        kind: of device.

    Returns:
        Text.
    """
    plain = f"{_rate(kind.float32)} float32, " if kind.float32 else ""
    beyond = f", {_speed(kind.outside)} beyond" if kind.outside else ""
    return (
        f"{kind.name}: {plain}{_rate(kind.product)} products of float32 at JAX's default precision,"
        f" {_rate(kind.bfloat16)} bfloat16\n"
        f"  {in_units(int(kind.memory))} at {_speed(kind.bandwidth)}; {_speed(kind.interconnect)}"
        f" to {kind.domain - 1} others{beyond} ({kind.source})"
    )


def cost_lines(cost: StepCost) -> list[str]:
    """Describes the formulas of a step.

    Args:
        cost: of one lane.

    Returns:
        Lines.
    """
    whole = cost.whole
    share = whole.products / max(1.0, whole.operations)
    lines = [
        f"{cost.name}: {cost.num_lanes} lanes, {_batch(cost)};"
        " one lane, by formula (its step is traced, nothing is compiled):",
        f"  state       {in_units(cost.state_bytes)} with {cost.num_parameters:,} parameters;"
        f" data {in_units(cost.data_bytes)} on every device",
        f"  arithmetic  {_affine(cost, 'operations', _count)} a step, {share:.0%} of it products",
        f"  memory      {_affine(cost, 'moved', _size)} read and written a step; at most"
        f" {_size(whole.kept)} of intermediate results",
        "  seed axis   nothing is exchanged",
    ]
    if cost.sums is None:
        known = "the parameters, as the batch cannot be followed through the step"
    else:
        known = ", ".join(f"{what} {_size(size)}" for what, size in cost.sums.items()) or "nothing"
    exchanged = cost.summed_bytes + cost.joined_bytes
    return [*lines, f"  data axis   {_size(exchanged)} a step: {known}"]


def _batch(cost: StepCost) -> str:
    return f"batch B = {_divided(cost)}" if cost.batch_size else "no setting batch_size"


def _divided(cost: StepCost) -> str:
    pieces = cost.microbatches
    return f"{cost.batch_size} in {pieces} microbatches" if pieces > 1 else str(cost.batch_size)


def _affine(cost: StepCost, part: str, text) -> str:
    whole = text(getattr(cost.whole, part))
    if not cost.batch_size:
        return whole
    slope = text(getattr(cost.example, part))
    return f"{text(getattr(cost.fixed, part))} + {slope} x B = {whole}"


def spread_lines(cost: StepCost, kind: Kind, settings: PlanConfig) -> list[str]:
    """Describes a step on devices of a kind.

    Args:
        cost: of one lane.
        kind: of the devices.
        settings: how many, and the precision of products.

    Returns:
        Lines.
    """
    lines = [
        f"  a step takes at least, at the peaks of {kind.name.split(' (')[0]}:",
        "  devices  seed x data  arithmetic     memory   exchange       step  bound by"
        "      seed-steps/s",
    ]
    for number in settings.devices:
        lines.append(_row(cost, spread(cost, kind, number, settings.products)))
    seeds = fitting_seeds(cost, kind)
    most = paying_devices(cost, kind, settings.products)
    least = paying_batch(cost, kind, settings.products)
    lines.append(
        f"  at least {seeds:,} seeds fit on one device, {seeds * settings.devices[-1]:,} on"
        f" {settings.devices[-1]}"
    )
    if cost.batch_size:
        lines.append(
            f"  the data axis pays up to {most} devices for one batch of {cost.batch_size}; "
            + (f"for two from a batch of {least:.0f}" if least else "no batch is large enough")
        )
    return lines


def _row(cost: StepCost, found: Spread) -> str:
    mesh = f"{found.mesh[0]} x {found.mesh[1]}"
    start = f"  {found.num_devices:7}  {mesh:>11}"
    if found.times is None:
        why = "be followed" if not cost.batch_size else f"share a batch of {_divided(cost)}"
        return f"{start}  {found.mesh[1]} devices cannot {why}: more seeds, or another batch"
    times = found.times
    columns = "  ".join(f"{_seconds(t):>9}" for t in (*times, times.step))
    return f"{start}   {columns}  {times.bound:<12}  {found.seeds_per_second:12,.0f}"


def program_lines(cost: StepCost, found: ProgramCost) -> list[str]:
    """Sets the formulas of all lanes beside what XLA says of the program compiled here.

    Args:
        cost: of one lane.
        found: of all lanes on one device.

    Returns:
        Lines.
    """
    lanes = cost.num_lanes
    rows = [
        ("operations", lanes * cost.whole.operations, found.operations, _count),
        ("bytes moved", lanes * cost.whole.moved, found.moved, _size),
        ("bytes of state", float(lanes * cost.state_bytes), float(found.state_bytes), _size),
    ]
    device = jax.devices()[0].device_kind
    lines = [f"  all lanes, by the program compiled for one {device}:"]
    for name, formula, program, text in rows:
        if program:
            error = formula / program - 1
            lines.append(f"  {name:<15} {text(program)}; by formula {text(formula)}, {error:+.1%}")
    return [*lines, f"  working memory  {_size(found.working_bytes)}"]


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    while value >= 999.5 and power < len(units) - 1:
        value, power = value / 1000, power + 1
    return f"{value:.3g} {units[power]}"


def _count(value: float) -> str:
    return _scaled(value, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"))


def _size(value: float) -> str:
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def _rate(value: float) -> str:
    return f"{_count(value)}/s"


def _speed(value: float) -> str:
    return f"{_size(value)}/s"


def _seconds(value: float) -> str:
    return _scaled(value * 1e9, ("ns", "us", "ms", "s"))
