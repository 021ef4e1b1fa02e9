"""Events of a run in words: times, seeds, arms, memory, whole lines."""

import math
from typing import Any

import numpy as np

from dgm_jax.core import json_values


def printable(text: Any) -> str:
    """One line of text without control characters, whatever came in."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def clock_text(seconds: float | None) -> str:
    """Seconds as `12 s`, `3:05` or `2:03:05`; `?` where unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = int(round(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest} s"
    return (
        f"{minutes}:{rest:02d}"
        if minutes < 60
        else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
    )


def seeds_text(num_seeds: int, failed: dict[int, int]) -> str:
    """`5 ok`, or `4 ok, 1 diverged at step 120 (seed 3)`; at most four of the failed ones are
    spelled out."""
    if not failed:
        return f"{num_seeds} ok"
    places = [f"at step {step} (seed {seed})" for seed, step in sorted(failed.items())]
    more = f" and {len(places) - 4} more" if len(places) > 4 else ""
    return f"{num_seeds - len(failed)} ok, {len(failed)} diverged {', '.join(places[:4])}{more}"


def metric_text(metrics: dict, limit: int = 6) -> str:
    """`modes 7.6  valid 0.85`: means over the seeds that have a figure."""
    parts = []
    for name, values in list(metrics.items())[:limit]:
        array = np.asarray(json_values.plain(values), np.float64)
        good = array[np.isfinite(array)]
        parts.append(
            f"{printable(name)} {good.mean():.4g}" if good.size else f"{printable(name)} -"
        )
    return "  ".join(parts)


def arms_text(arms: list[int] | None) -> str:
    """`arm 1 of 2`, `arms 1 to 4 of 8`; nothing where there is one arm."""
    if arms is None or arms[2] == 1:
        return ""
    first, last, count = arms
    return f"arm {first} of {count}" if first == last else f"arms {first} to {last} of {count}"


def eta_text(event: dict) -> str:
    """The time left, of the whole run; where arms are to come, beside that of the present ones."""
    whole = event["eta_seconds"]
    here = event["eta_seconds_of_these_arms"]
    if whole is None:
        return ""
    if whole == here:
        return f"ETA {clock_text(whole)}"
    first, last, _ = event["arms"]
    these = "this arm" if first == last else "these arms"
    return f"ETA {clock_text(whole)} for all arms at this rate, {clock_text(here)} for {these}"


def memory_text(num_bytes: int | None) -> str:
    """`memory 1.2 GB`; nothing where it is not known."""
    return f"memory {in_units(num_bytes)}" if num_bytes else ""


def in_units(num_bytes: float) -> str:
    """Bytes as a person reads them, in powers of 1,000."""
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes / 1e3:.3g} kB"


def progress_text(event: dict) -> str:
    """A line of log after a row: steps, arm, rate, time left, memory, seeds, metrics."""
    seeds = f"seeds: {seeds_text(event['num_seeds'], event['failed'])}"
    return "  ".join(filter(None, [running_text(event), seeds, metric_text(event["metrics"])]))


def running_text(event: dict) -> str:
    """The same within a chunk, without what only a row knows."""
    share = 100 * event["step"] / event["total"] if event["total"] else 100.0
    rate = event["seed_steps_per_second"]
    return "  ".join(
        filter(
            None,
            [
                f"{printable(event['name'])} {event['step']}/{event['total']} ({share:.0f} %)",
                arms_text(event["arms"]),
                f"{rate:.4g} seed-steps/s" if rate else "",
                eta_text(event),
                memory_text(event["memory_bytes"]),
            ],
        )
    )


def end_text(event: dict) -> str:
    """How a phase or a training ended, and after how long."""
    how = {"done": "", "failed": " (failed)", "interrupted": " (interrupted)"}[event["outcome"]]
    if event["event"] == "phase_end":
        return f"{printable(event['name'])}: {event['seconds']:.1f} s{how}"
    return (
        f"{printable(event['name'])}: step {event['step']}/{event['total']} after"
        f" {clock_text(event['seconds'])}{how}  seeds:"
        f" {seeds_text(event['num_seeds'], event['failed'])}"
    )
