"""`dgm-jax plan`: what a run would need on so many devices of a kind, before there are any."""

import dataclasses

import jax

from dgm_jax.core import DgmError, require
from dgm_jax.parallel import KINDS, Kind
from dgm_jax.run.cells import Group, groups
from dgm_jax.run.costs import ProgramCost, StepCost, program_cost, step_cost
from dgm_jax.run.experiment import Inputs
from dgm_jax.run.launch import Job, inputs_of
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
        job_groups, inputs = untrained(job)
        pieces = job.launch.microbatches
        print(described(kind))
        for group in job_groups:
            cost = step_cost(job.experiment, group, inputs, pieces)
            group_settings = _with_own_precision(settings, group)
            lines = [*cost_lines(cost), *spread_lines(cost, kind, group_settings)]
            print("\n".join(["", *lines]))
            if settings.compile:
                here = jax.devices()[:1]
                program = program_cost(job.experiment, group, inputs, here, pieces)
                lines = program_lines(cost, program)
                print("\n".join(lines))
    except DgmError as error:
        console.tell(f"error: {error}")
        return error.exit_code
    return 0


def _with_own_precision(settings: PlanConfig, group: Group) -> PlanConfig:
    """The settings, with products in the precision that the experiment is set to."""
    config = group.arms[0].config
    precision = getattr(config, "precision", None)
    if settings.products == "default" and precision == "bfloat16":
        return dataclasses.replace(settings, products=precision)
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
    return groups(experiment, cells), inputs_of(job, finished_folder)


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
        memory = memory_of(jax.devices()[0])
        return this_machine(memory.num_bytes)
    return KINDS[name]


def described(kind: Kind) -> str:
    """Describes a kind in two lines.

    Args:
        kind: of device.

    Returns:
        Text.
    """
    plain = f"{_rate(kind.float32)} float32, " if kind.float32 else ""
    product = _rate(kind.product)
    half = _rate(kind.bfloat16)
    memory = in_units(int(kind.memory))
    bandwidth = _speed(kind.bandwidth)
    interconnect = _speed(kind.interconnect)
    num_others = kind.domain - 1
    beyond = f", {_speed(kind.outside)} beyond" if kind.outside else ""
    return (
        f"{kind.name}: {plain}{product} products of float32 at JAX's default precision,"
        f" {half} bfloat16\n"
        f"  {memory} at {bandwidth}; {interconnect} to {num_others} others{beyond} ({kind.source})"
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
    state = in_units(cost.state_bytes)
    data = in_units(cost.data_bytes)
    operations = _affine(cost, "operations", _count)
    moved = _affine(cost, "moved", _size)
    kept = _size(whole.kept)
    exchanged = _size(cost.summed_bytes + cost.joined_bytes)
    return [
        f"{cost.name}: {cost.num_lanes} lanes, {_batch(cost)};"
        " one lane, by formula (its step is traced, nothing is compiled):",
        f"  state       {state} with {cost.num_parameters:,} parameters;"
        f" data {data} on every device",
        f"  arithmetic  {operations} a step, {share:.0%} of it products",
        f"  memory      {moved} read and written a step; at most {kept} of intermediate results",
        "  seed axis   nothing is exchanged",
        f"  data axis   {exchanged} a step: {_exchanges(cost)}",
    ]


def _exchanges(cost: StepCost) -> str:
    """What devices that share a batch exchange, each with its size."""
    if cost.sums is None:
        return "the parameters, as the batch cannot be followed through the step"
    sizes = [f"{what} {_size(size)}" for what, size in cost.sums.items()]
    return ", ".join(sizes) or "nothing"


def _batch(cost: StepCost) -> str:
    if not cost.batch_size:
        return "no setting batch_size"
    return f"batch B = {_divided(cost)}"


def _divided(cost: StepCost) -> str:
    pieces = cost.microbatches
    if pieces > 1:
        return f"{cost.batch_size} in {pieces} microbatches"
    return str(cost.batch_size)


def _affine(cost: StepCost, part: str, text) -> str:
    whole = text(getattr(cost.whole, part))
    if not cost.batch_size:
        return whole
    fixed = text(getattr(cost.fixed, part))
    slope = text(getattr(cost.example, part))
    return f"{fixed} + {slope} x B = {whole}"


def spread_lines(cost: StepCost, kind: Kind, settings: PlanConfig) -> list[str]:
    """Describes a step on devices of a kind.

    Args:
        cost: of one lane.
        kind: of the devices.
        settings: how many, and the precision of products.

    Returns:
        Lines.
    """
    precision = settings.products
    short_name, *_ = kind.name.split(" (")
    lines = [
        f"  a step takes at least, at the peaks of {short_name}:",
        "  devices  seed x data  arithmetic     memory   exchange       step  bound by"
        "      seed-steps/s",
    ]
    for number in settings.devices:
        row = _row(cost, spread(cost, kind, number, precision))
        lines.append(row)
    seeds = fitting_seeds(cost, kind)
    most = paying_devices(cost, kind, precision)
    least = paying_batch(cost, kind, precision)
    last = settings.devices[-1]
    lines.append(f"  at least {seeds:,} seeds fit on one device, {seeds * last:,} on {last}")
    if cost.batch_size:
        pays = f"the data axis pays up to {most} devices for one batch of {cost.batch_size}"
        enough = f"for two from a batch of {least:.0f}" if least else "no batch is large enough"
        lines.append(f"  {pays}; {enough}")
    return lines


def _row(cost: StepCost, placed: Spread) -> str:
    along_seed, along_data = placed.mesh
    mesh = f"{along_seed} x {along_data}"
    start = f"  {placed.num_devices:7}  {mesh:>11}"
    times = placed.times
    if times is None:
        why = f"share a batch of {_divided(cost)}" if cost.batch_size else "be followed"
        return f"{start}  {along_data} devices cannot {why}: more seeds, or another batch"
    seconds = (*times, times.step)
    columns = "  ".join(f"{_seconds(value):>9}" for value in seconds)
    return f"{start}   {columns}  {times.bound:<12}  {placed.seeds_per_second:12,.0f}"


def program_lines(cost: StepCost, found: ProgramCost) -> list[str]:
    """Sets the formulas of all lanes beside what XLA says of the program compiled here.

    Args:
        cost: of one lane.
        found: of all lanes on one device.

    Returns:
        Lines.
    """
    lanes = cost.num_lanes
    operations = lanes * cost.whole.operations
    moved = lanes * cost.whole.moved
    state = float(lanes * cost.state_bytes)
    rows = [
        ("operations", operations, found.operations, _count),
        ("bytes moved", moved, found.moved, _size),
        ("bytes of state", state, float(found.state_bytes), _size),
    ]
    device = jax.devices()[0].device_kind
    lines = [f"  all lanes, by the program compiled for one {device}:"]
    for name, formula, program, text in rows:
        if not program:
            continue
        error = formula / program - 1
        compiled = text(program)
        expected = text(formula)
        lines.append(f"  {name:<15} {compiled}; by formula {expected}, {error:+.1%}")
    working = _size(found.working_bytes)
    return [*lines, f"  working memory  {working}"]


def _scaled(value: float, units: tuple[str, ...]) -> str:
    power = 0
    last = len(units) - 1
    while value >= 999.5 and power < last:
        value = value / 1000
        power += 1
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
