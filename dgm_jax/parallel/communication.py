"""Reads the communication of a compiled program from its optimized HLO."""

import itertools
import math
import re
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
_GROUP = re.compile(r"\{([\d, ]*)\}")
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
    num_devices = math.prod(mesh_shape)
    communications = []
    for line in hlo.splitlines():
        call = _CALL.search(line)
        if call is None:
            continue
        results, kind = call.groups()
        shapes = tuple(match.group(0) for match in _SHAPE.finditer(results))
        groups = _groups(line, num_devices)
        axis = _axis(groups, mesh_shape)
        num_bytes = sum(map(shape_bytes, shapes))
        named = _OPERATION.search(line)
        operation = named.group(1) if named else ""
        communications.append(Collective(kind, axis, num_bytes, shapes, operation))
    return communications


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
    _, bits, dimensions = match.groups()
    item_size = max(1, int(bits or 8) // 8)
    size = math.prod(_numbers(dimensions))
    return size * item_size


def _groups(line: str, num_devices: int) -> list[list[int]]:
    """The devices that communicate with each other."""
    iota = _IOTA.search(line)
    if iota:
        shape, source, order = (_numbers(part) for part in iota.groups())
        devices = np.arange(num_devices).reshape(source)
        if order:
            devices = devices.transpose(order)
        return devices.reshape(shape).tolist()
    named = _MESH.search(line)
    if named:
        axes, along = named.groups()
        return _groups_of_mesh(axes, along, num_devices)
    listed = _EXPLICIT.search(line) or _PAIRS.search(line)
    if listed:
        groups = _GROUP.findall(listed.group(1))
        return [_numbers(group) for group in groups]
    if "replica_groups=" in line and "replica_groups={}" not in line:
        raise ValueError(f"cannot read the groups of devices in {line.strip()[:200]!r}")
    return [list(range(num_devices))]


def _groups_of_mesh(axes: str, along: str, num_devices: int) -> list[list[int]]:
    """The groups along some axes of a mesh; `'x':(2)4` is a part of an axis, of 4 after 2."""
    parts = {name: (before, size) for name, before, size in _PART.findall(along)}
    shape, across, within = [], [], []
    for name, text in _AXIS.findall(axes):
        size = int(text)
        before, middle = size, 1
        if name in parts:
            before, middle = _part(parts[name], size)
        after = size // (before * middle)
        first = len(shape)
        shape += [before, middle, after]
        across += [first, first + 2]
        if name in parts:
            within.append(first + 1)
        else:
            across.append(first + 1)
    group_size = math.prod(shape[i] for i in within)
    order = sorted(across) + within
    devices = np.arange(num_devices).reshape(shape).transpose(order)
    return devices.reshape(-1, group_size).tolist()


def _part(texts: tuple[str, str], size: int) -> tuple[int, int]:
    """How many lie before a part of an axis, and its length; a name alone is the whole axis."""
    before, length = texts
    if not length:
        return 1, size
    return int(before or 1), int(length)


def _numbers(text: str | None) -> list[int]:
    parts = (text or "").split(",")
    return [int(part) for part in parts if part.strip()]


def _axis(groups: list[list[int]], mesh_shape: tuple[int, int]) -> str:
    """The axes along which some group's devices differ."""
    crossed = set()
    for group in groups:
        for device, neighbour in itertools.pairwise(group):
            crossed |= _crossed(device, neighbour, mesh_shape)
    names = [name for name in (SEED, DATA) if name in crossed]
    return " and ".join(names) or "none"


def _crossed(device: int, other: int, mesh_shape: tuple[int, int]) -> set[str]:
    """The axes along which two devices differ."""
    seed, data = np.unravel_index(device, mesh_shape)
    other_seed, other_data = np.unravel_index(other, mesh_shape)
    axes = set()
    if seed != other_seed:
        axes.add(SEED)
    if data != other_data:
        axes.add(DATA)
    return axes
