"""Declares the training steps of a family: every size, for every number of seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.contract import BESIDE, PEER, Benchmark, Side

SEEDS = (1, 8, 32)
Shape = Mapping[str, int]
# PyTorch on images: every layout, and its own arithmetic in bfloat16 beside.
TORCH_IMAGES = {
    "torch eager, channels first": {"channels_last": False},
    "torch eager, channels last": {"channels_last": True},
    "torch compile, channels last": {"channels_last": True, "compiled": True, "slow": True},
    "torch eager, channels last, autocast bfloat16": {
        "channels_last": True,
        "autocast": True,
        "beside": True,
    },
    "torch compile, channels last, autocast bfloat16": {
        "channels_last": True,
        "compiled": True,
        "autocast": True,
        "slow": True,
        "beside": True,
    },
}


def by_other_sides(
    of: Benchmark, family: str, name: str, sides: Mapping[str, Side], unchecked: str
) -> Benchmark:
    """The work of a benchmark of another family, done by other sides."""
    size = f"{of.family} {of.size}"
    return of._replace(
        name=name, family=family, size=size, sides=sides, check=None, unchecked=unchecked
    )


def training(
    family: str,
    shapes: Mapping[str, Shape],
    flops: Callable[..., float],
    num_bytes: Callable[..., float],
    *,
    steps: Mapping[str, int],
    peers: Mapping[str, Mapping[str, Any]] | None = None,
    ours: Mapping[str, Mapping[str, Any]] | None = None,
    of_several: Mapping[str, Any] | None = None,
    unchecked: str = "",
    seeds: Sequence[int] = SEEDS,
) -> list[Benchmark]:
    """Benchmarks of a family with `ours:engine`, `check:check` and its peers in its folder.

    Args:
        family: name of the folder.
        shapes: by size, the keyword `shape` of all these functions.
        flops: of a seed's step, from a shape's entries.
        num_bytes: that a seed's step must move, from a shape's entries.
        steps: of one call, by size.
        peers: options of the peers by name of the side; None without a peer. "target" is the
            function, in place of `peer:eager`; "beside" marks one that is measured for one seed and
            that no ratio is taken to; "batched" marks one that trains all seeds at once,
            whose keyword `seeds` is their number; "slow" one that a quick run leaves out.
        ours: further sides of ours for one seed, by name, with their options.
        of_several: what ours is told for several seeds, such as another strategy than "auto".
        unchecked: why there is no check.
        seeds: numbers of seeds.

    Returns:
        A benchmark for each size and number of seeds.
    """
    found = []
    for size, shape in shapes.items():
        common = {"shape": dict(shape), "steps": steps[size]}
        check = Side(f"{family}.check:check", {"shape": dict(shape)}) if peers else None
        for number in seeds:
            options = {**common, "seeds": number, **(of_several or {} if number > 1 else {})}
            sides = {"ours": Side(f"{family}.ours:engine", options)}
            for name, more in (ours or {}).items() if number == 1 else ():
                sides[name] = Side(f"{family}.ours:engine", {**options, **more})
            for name, more in (peers or {}).items():
                if number == 1 or not more.get("beside"):
                    sides[name] = _peer(family, {**common, **more}, number)
            found.append(
                Benchmark(
                    name=f"{family}_{size}_{number}_seeds",
                    family=family,
                    size=size,
                    unit="seed-steps",
                    sides=sides,
                    seeds=number,
                    flops=flops(**shape),
                    num_bytes=num_bytes(**shape),
                    check=check,
                    unchecked=unchecked,
                )
            )
    return found


def _peer(family: str, options: dict[str, Any], seeds: int) -> Side:
    target, slow = options.pop("target", "peer:eager"), options.pop("slow", False)
    role = BESIDE if options.pop("beside", False) else PEER
    if options.pop("batched", False):
        options["seeds"] = seeds
    return Side(f"{family}.{target}", options, role, slow=slow)
