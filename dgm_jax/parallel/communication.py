"""Reads the communication of a compiled program from its optimized HLO."""

import itertools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dgm_jax.parallel.mesh import DATA, SEED

_KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_CALL = re.compile(rf"= (.+?) ({'|'.join(_KINDS)})(?:-start)?\(")
_SHAPE = re.compile(r"\b([a-z]+)(\d*)(?:e\dm\d\w*)?\[([\d,]*)\]")
_EXPLICIT = re.compile(r"replica_groups=\{(\{[\d,{} ]*\})\}")
_IOTA = re.compile(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}")
_AXIS = re.compile(r"'([^']*)'=(\d+)")
_PART = re.compile(r"'([^']*)'(?::\((\d+)\)(\d+))?")
_PAIRS = re.compile(r"source_target_pairs=\{(\{[\d,{} ]*\})\}")
_OPERATION = re.compile(r'op_name="([^"]*)"')


class Collective(NamedTuple):
    """One communication of a program.

    Attributes:
        kind: as HLO names it, such as "all-reduce".
        axis: the mesh axis along which devices communicate: "seed", "data", "seed and data", or
            "none" where every group has one device.
        num_bytes: of its results on one device.
        shapes: of its results, as HLO writes them.
        operation: the operation of the traced program that it belongs to.
    """

    kind: str
    axis: str
    num_bytes: int
    shapes: tuple[str, ...]
    operation: str


def collectives(hlo: str, mesh_shape: tuple[int, int]) -> list[Collective]:
    """Lists the collectives of a program; those in a loop count as one turn of it.

    Args:
        hlo: the optimized program, `compiled.as_text()`.
        mesh_shape: devices along "seed" and along "data", in the order of the program's devices.

    Returns:
        The collectives, in the order of the text.

    Raises:
        ValueError: the groups of devices are written in a way that is not known here.
    """
    found = []
    for line in hlo.splitlines():
        call = _CALL.search(line)
        if call is None:
            continue
        shapes = [match.group(0) for match in _SHAPE.finditer(call.group(1))]
        axis = _axis(_groups(line, math.prod(mesh_shape)), mesh_shape)
        named = _OPERATION.search(line)
        size = sum(map(shape_bytes, shapes))
        operation = named.group(1) if named else ""
        found.append(Collective(call.group(2), axis, size, tuple(shapes), operation))
    return found


def shape_bytes(shape: str) -> int:
    """Returns the bytes of an array as HLO writes its shape.

    Args:
        shape: such as "f32[2,128]" or "pred[]".

    Returns:
        Bytes.

    Raises:
        ValueError: it is no such text.
    """
    match = _SHAPE.fullmatch(shape)
    if match is None:
        raise ValueError(f"no shape of HLO: {shape!r}")
    bits = int(match.group(2) or 8)
    size = math.prod(int(d) for d in match.group(3).split(",") if d)
    return size * max(1, bits // 8)


def _groups(line: str, num_devices: int) -> list[list[int]]:
    """The devices that communicate with each other."""
    iota = _IOTA.search(line)
    if iota:
        shape, source, order = (_numbers(part) for part in iota.groups())
        devices = np.arange(num_devices).reshape(source)
        return (devices.transpose(order) if order else devices).reshape(shape).tolist()
    named = _MESH.search(line)
    if named:
        return _groups_of_mesh(named.group(1), named.group(2), num_devices)
    listed = _EXPLICIT.search(line) or _PAIRS.search(line)
    if listed:
        return [_numbers(group) for group in re.findall(r"\{([\d, ]*)\}", listed.group(1))]
    if "replica_groups=" in line and "replica_groups={}" not in line:
        raise ValueError(f"cannot read the groups of devices in {line.strip()[:200]!r}")
    return [list(range(num_devices))]


def _groups_of_mesh(axes: str, along: str, num_devices: int) -> list[list[int]]:
    """The groups along some axes of a mesh; `'x':(2)4` is a part of an axis, of 4 after 2."""
    parts = {name: (before, size) for name, before, size in _PART.findall(along)}
    shape, chosen = [], []
    for name, size in _AXIS.findall(axes):
        before, middle = (int(n or 1) for n in parts.get(name, (size, 1)))
        if name in parts and not parts[name][1]:
            before, middle = 1, int(size)
        shape += [before, middle, int(size) // (before * middle)]
        chosen += [False, name in parts, False]
    order = [i for i, is_in in enumerate(chosen) if not is_in]
    order += [i for i, is_in in enumerate(chosen) if is_in]
    length = math.prod(n for n, is_in in zip(shape, chosen, strict=True) if is_in)
    devices = np.arange(num_devices).reshape(shape).transpose(order)
    return devices.reshape(-1, length).tolist()


def _numbers(text: str | None) -> list[int]:
    return [int(number) for number in (text or "").split(",") if number.strip()]


def _axis(groups: list[list[int]], mesh_shape: tuple[int, int]) -> str:
    """The axes along which some group's devices differ."""
    crossed = set()
    for one, other in itertools.chain.from_iterable(map(_neighbours, groups)):
        ends = (np.unravel_index(device, mesh_shape) for device in (one, other))
        places = zip(*ends, strict=True)
        differ = [a != b for a, b in places]
        crossed.update(name for name, differs in zip((SEED, DATA), differ, strict=True) if differs)
    return " and ".join(name for name in (SEED, DATA) if name in crossed) or "none"


def _neighbours(group: list[int]) -> Iterator[tuple[int, int]]:
    return itertools.pairwise(group)
