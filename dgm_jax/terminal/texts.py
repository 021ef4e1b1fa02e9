"""Events of a run as text: times, seeds, arms, memory, whole lines."""

import math

import numpy as np

from dgm_jax.core import json_values
from dgm_jax.terminal.console import printable

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"))


def clock_text(seconds: float | None) -> str:
    """Format a duration.

    Args:
        seconds: the duration, in seconds.

    Returns:
        For example `12 s`, `3:05` or `2:03:05`; `?` for None and values that are not finite.
    """
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = int(round(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest} s"
    if minutes < 60:
        return f"{minutes}:{rest:02d}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def seeds_text(num_seeds: int, failed: dict[int, int]) -> str:
    """Describe how many seeds train normally and which ones have diverged.

    Args:
        num_seeds: number of seeds.
        failed: the step at which a seed diverged, by seed.

    Returns:
        For example `5 ok` or `4 ok, 1 diverged at step 120 (seed 3)`; at most four failed seeds are
        listed.
    """
    if not failed:
        return f"{num_seeds} ok"
    num_failed = len(failed)
    num_ok = num_seeds - num_failed
    num_more = num_failed - 4
    by_seed = sorted(failed.items())
    places = [f"at step {step} (seed {seed})" for seed, step in by_seed[:4]]
    listed = ", ".join(places)
    more = f" and {num_more} more" if num_more > 0 else ""
    return f"{num_ok} ok, {num_failed} diverged {listed}{more}"


def metric_text(metrics: dict, limit: int = 6) -> str:
    """Format metrics as means over the seeds whose values are finite.

    Args:
        metrics: one value per seed, or a single number, by name.
        limit: number of metrics to show.

    Returns:
        For example `modes 7.6  valid 0.85`; `-` for a metric without finite values.
    """
    parts = []
    first_metrics = list(metrics.items())[:limit]
    for name, values in first_metrics:
        numbers = json_values.plain(values)
        array = np.asarray(numbers, np.float64)
        finite = array[np.isfinite(array)]
        mean = f"{finite.mean():.4g}" if finite.size else "-"
        label = printable(name)
        parts.append(f"{label} {mean}")
    return "  ".join(parts)


def arms_text(arms: list[int] | None) -> str:
    """Describe which arms of a run are trained.

    Args:
        arms: the first arm, the last one and the number of all arms; None if it is not known.

    Returns:
        For example `arm 1 of 2` or `arms 1 to 4 of 8`; empty if there is only one arm.
    """
    if arms is None or arms[2] == 1:
        return ""
    first, last, num_arms = arms
    if first == last:
        return f"arm {first} of {num_arms}"
    return f"arms {first} to {last} of {num_arms}"


def eta_text(event: dict) -> str:
    """Describe the time left.

    Args:
        event: a `progress` or `running` event of `Progress`.

    Returns:
        The time left for the whole run and, if arms remain to be trained after the current ones,
        for the current ones; empty if it is not known.
    """
    whole = event["eta_seconds"]
    current = event["eta_seconds_of_these_arms"]
    if whole is None:
        return ""
    if whole == current:
        return f"ETA {clock_text(whole)}"
    first, last, _ = event["arms"]
    these = "this arm" if first == last else "these arms"
    left = clock_text(whole)
    left_of_these = clock_text(current)
    return f"ETA {left} for all arms at this rate, {left_of_these} for {these}"


def memory_text(num_bytes: int | None) -> str:
    """Describe the memory of the device that is in use.

    Args:
        num_bytes: number of bytes, None if it is not known.

    Returns:
        For example `memory 1.2 GB`; empty if it is not known.
    """
    if not num_bytes:
        return ""
    return f"memory {in_units(num_bytes)}"


def in_units(num_bytes: float) -> str:
    """Format a number of bytes in units of powers of 1,000.

    Args:
        num_bytes: number of bytes.

    Returns:
        For example `1.2 GB`, in kB, MB, GB or TB.
    """
    for factor, unit in _UNITS:
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes / 1e3:.3g} kB"


def progress_text(event: dict) -> str:
    """Format a `progress` event as a line for a log file.

    Args:
        event: the event.

    Returns:
        Steps, arm, rate, time left, memory, seeds and metrics.
    """
    running = running_text(event)
    seeds = seeds_text(event["num_seeds"], event["failed"])
    metrics = metric_text(event["metrics"])
    return _joined([running, f"seeds: {seeds}", metrics])


def running_text(event: dict) -> str:
    """Format a `progress` or `running` event without its seeds and metrics.

    Args:
        event: the event.

    Returns:
        Steps, arm, rate, time left and memory.
    """
    name = printable(event["name"])
    step = event["step"]
    total = event["total"]
    percent = 100 * step / total if total else 100.0
    arms = arms_text(event["arms"])
    rate = event["seed_steps_per_second"]
    speed = f"{rate:.4g} seed-steps/s" if rate else ""
    eta = eta_text(event)
    memory = memory_text(event["memory_bytes"])
    progress = f"{name} {step}/{total} ({percent:.0f} %)"
    return _joined([progress, arms, speed, eta, memory])


def _joined(parts: list[str]) -> str:
    """The parts that are not empty, two spaces apart."""
    return "  ".join(filter(None, parts))


def end_text(event: dict) -> str:
    """Format a `phase_end` or `training_end` event.

    Args:
        event: the event.

    Returns:
        What has ended, after how long, and whether it failed or was interrupted.
    """
    suffixes = {"done": "", "failed": " (failed)", "interrupted": " (interrupted)"}
    suffix = suffixes[event["outcome"]]
    name = printable(event["name"])
    seconds = event["seconds"]
    if event["event"] == "phase_end":
        return f"{name}: {seconds:.1f} s{suffix}"
    step = event["step"]
    total = event["total"]
    duration = clock_text(seconds)
    seeds = seeds_text(event["num_seeds"], event["failed"])
    return f"{name}: step {step}/{total} after {duration}{suffix}  seeds: {seeds}"
