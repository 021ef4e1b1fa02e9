"""Several processes that train one run on the devices of all of them.

Each process runs the same program on its part of the global arrays, so whatever the host decides
has to be decided alike: process 0 decides, and `agreed` tells the others. Values that no process
holds whole are gathered by `fetched`.
"""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from dgm_jax.core import ConfigError, DgmError, PyTree, is_key, on_host, require

HEARTBEAT_SECONDS = 15  # without a sign of life after which JAX takes a process for dead
GOODBYE_SECONDS = 10  # for which a process that is done waits for the others


class ElsewhereError(DgmError):
    """An error of one process, raised in the other processes as well."""


def start(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Connect this process with the others of its run; to be called before JAX's first computation.

    Args:
        coordinator: HOST:PORT at which process 0 listens. For None, and for None in place of the
            other two, JAX asks the launcher (`jax.distributed.initialize`).
        num_processes: number of processes.
        process_id: number of this process, from 0.

    Raises:
        ConfigError: JAX has computed already, or the processes cannot be connected.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # It would take SIGTERM, on which a run saves nothing new and ends.
    jax.config.update("jax_enable_preemption_service", False)
    are_given = None not in (coordinator, num_processes, process_id)
    detection_method = "deactivate" if are_given else None
    try:
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            cluster_detection_method=detection_method,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=GOODBYE_SECONDS,
        )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        lines = str(error).strip().splitlines()
        reason = lines[0][:200]
        raise ConfigError(
            f"the processes of this run cannot be connected ({reason}): give each of them"
            " --coordinator HOST:PORT --num_processes N --process_id I"
        ) from error


def several() -> bool:
    """Return whether this process is one of several; starts no backend if it is alone."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Return whether this is process 0, which writes the files of a run."""
    return not several() or jax.process_index() == 0


def own(devices: Any) -> list[Any]:
    """Select the devices of this process.

    Args:
        devices: of all processes.

    Returns:
        Those whose memory this process can reach.
    """
    return [device for device in devices if device.process_index == jax.process_index()]


def fetched(tree: PyTree) -> PyTree:
    """Copy whole arrays to the host of every process, one leaf after the other.

    All processes have to call it with the same tree.

    Args:
        tree: arrays, which may be spread over processes.

    Returns:
        The tree with NumPy arrays as leaves; random keys stay arrays of keys, on one device.
    """
    if not several():
        return on_host(tree)
    return jax.tree.map(_whole, tree)


def _whole(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and is_key(leaf):
        words = _whole(jax.random.key_data(leaf))
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    is_spread = isinstance(leaf, jax.Array) and not leaf.is_fully_addressable
    if not is_spread or leaf.is_fully_replicated:
        return np.asarray(leaf)
    return multihost_utils.process_allgather(leaf, tiled=True)


def agreed(value: int) -> int:
    """Return process 0's value in every process.

    Args:
        value: a whole number of at most 31 bits.

    Returns:
        The value; all processes have to ask.
    """
    if not several():
        return value
    of_first = multihost_utils.broadcast_one_to_all(np.int32(value))
    return int(of_first)


def largest(value: int) -> int:
    """Return the largest of the values of all processes.

    Args:
        value: a whole number of at most 31 bits.

    Returns:
        The largest; all processes have to ask.
    """
    if not several():
        return value
    values = multihost_utils.process_allgather(np.int32(value))
    return int(np.max(values))


def from_first(work: Callable[[], Any]) -> Any:
    """Do something in process 0 only, and return its result in all processes.

    Args:
        work: returns a JSON value.

    Returns:
        The value.

    Raises:
        DgmError: that of the work; in other processes than 0 an ElsewhereError.
    """
    if not several():
        return work()
    if not is_first():
        return _told()
    try:
        value = work()
    except DgmError as error:
        _tell({"error": str(error), "exit_code": error.exit_code})
        raise
    _tell({"value": value})
    return value


def _tell(answer: dict[str, Any]) -> None:
    """Send what came of the work of process 0 to the others."""
    text = json.dumps(answer)
    _text(text.encode())


def _told() -> Any:
    """The value that process 0 sends, or its error."""
    text = _text(b"")
    answer = json.loads(text)
    if "error" in answer:
        error = ElsewhereError(answer["error"])
        error.exit_code = answer["exit_code"]
        raise error
    return answer["value"]


def require_everywhere(condition: bool, message: str) -> None:
    """Check what may hold in one process and not in another, such as that there is enough memory.

    All processes have to ask, and all are refused where one is.

    Args:
        condition: as this process sees it.
        message: what was expected and what was given here.

    Raises:
        ConfigError: in the first process in which the condition does not hold; in the others an
            ElsewhereError with its message.
    """
    if not several():
        require(condition, message)
        return
    num_processes = jax.process_count()
    index = jax.process_index()
    num_from_here = 0 if condition else num_processes - index
    first = num_processes - largest(num_from_here)
    if first == num_processes:
        return
    told = _text(message.encode(), first).decode()
    require(first != index, message)
    raise ElsewhereError(told)


def _text(content: bytes, source: int = 0) -> bytes:
    """Return the bytes of one process in every process."""
    is_source = jax.process_index() == source
    num_bytes = np.int32(len(content))
    size = int(multihost_utils.broadcast_one_to_all(num_bytes, is_source))
    start = np.frombuffer(content, np.uint8)[:size]
    padded = np.zeros(size, np.uint8)
    padded[: len(start)] = start
    sent = multihost_utils.broadcast_one_to_all(padded, is_source)
    return sent.astype(np.uint8).tobytes()


def broadcast(tree: PyTree, like: PyTree) -> PyTree:
    """Return process 0's arrays in every process, one leaf after the other.

    Args:
        tree: arrays on the host of process 0; anything in the others.
        like: their shapes and dtypes, in every process.

    Returns:
        The tree with NumPy arrays as leaves; random keys are arrays of their words.
    """
    shapes, structure = jax.tree.flatten(like)
    leaves = [None] * len(shapes)
    if is_first():
        leaves = jax.tree.leaves(tree)
    sent = [_sent(leaf, shape) for leaf, shape in zip(leaves, shapes, strict=True)]
    return jax.tree.unflatten(structure, sent)


def _sent(leaf: Any, shape: Any) -> np.ndarray:
    if is_key(shape):
        shape = jax.eval_shape(jax.random.key_data, shape)
        if leaf is not None:
            leaf = jax.random.key_data(leaf)
    # As bytes, since a broadcast is a sum, which may change NaN and -0.
    if leaf is None:
        size = int(np.prod(shape.shape, dtype=np.int64))
        item_size = np.dtype(shape.dtype).itemsize
        content = np.zeros(size * item_size, np.uint8)
    else:
        contiguous = np.ascontiguousarray(leaf)
        content = contiguous.reshape(-1).view(np.uint8)
    sent = multihost_utils.broadcast_one_to_all(content)
    sent = np.asarray(sent, np.uint8)
    return sent.view(shape.dtype).reshape(shape.shape)


def require_all_present(devices: Any) -> None:
    """Check that every process has a device among those that are used.

    Args:
        devices: the devices of a program.

    Raises:
        ConfigError: a process has none.
    """
    processes = set(range(jax.process_count()))
    present = {device.process_index for device in devices}
    missing = sorted(processes - present)
    require(
        not missing,
        f"every process needs a device, and processes {missing} have none of the"
        f" {len(devices)} devices: leave --num_devices at 0, or start fewer processes",
    )
