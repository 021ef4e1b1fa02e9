"""Data on the host, whose examples travel to the devices some steps ahead of the training.

The steps of a run are cut into blocks of equal length. A thread prepares the next block while the
devices work on the present one: the positions of its batches are those of the task's own stream
(`core.Gather.positions`), the rows at these positions are copied, and put on the devices. What a
block holds is a function of the lanes' keys and the numbers of its steps, so wherever a run starts
or is cut, its steps see the same examples as with the data on the device.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax.core import Array, Fed, Gather, Lane, PyTree, Stream, require
from dgm_jax.training.positions import bounds, positions_by_lanes
from dgm_jax.training.rows import Rows

BLOCK_BYTES = 2**26
BLOCKS_HELD = 4  # the one in use, one that is ready, and one in the making with its source
_POLL_SECONDS = 0.2


class Waiting(NamedTuple):
    """How long the steps of a run have waited for their data.

    Attributes:
        first_seconds: until the first block was there.
        seconds: for all later blocks together.
    """

    first_seconds: float
    seconds: float


class Blocks(NamedTuple):
    """How the steps of a run are cut.

    Attributes:
        num_steps: of a block.
        num_batches: of a step.
        batch_size: examples of a batch.
        num_bytes: of a block, over all lanes.
    """

    num_steps: int
    num_batches: int
    batch_size: int
    num_bytes: int


def refusal(stream: Stream | None, data: PyTree) -> str:
    """Say why data cannot be on the host, if they cannot.

    Args:
        stream: of a lane.
        data: all arrays of the run.

    Returns:
        A clause; empty if they can.
    """
    if stream is None or not isinstance(stream.draw, Gather):
        return "its batches are made on the device, not gathered from stored examples"
    if stream.num_batches is None:
        return "its algorithm does not say how many batches a step draws (Algorithm.num_batches)"
    examples = jax.tree.leaves(stream.draw.examples(data))
    lengths = {np.shape(x)[:1] for x in examples}
    if len(lengths) != 1 or lengths == {()}:
        return "its arrays are not all of one length, an example in each row"
    return ""


def blocks_of(stream: Stream, keys: Any, examples: PyTree, num_steps: int) -> Blocks:
    """Cut the steps of a run into blocks of at most `BLOCK_BYTES`, and of at least one step.

    Args:
        stream: of a lane, see `refusal`.
        keys: the lanes' typed keys [L], or their shape.
        examples: tree of arrays [N, ...].
        num_steps: of the run.

    Returns:
        The cut.

    Raises:
        ConfigError: positions are not one integer for each example of a batch.
    """
    assert isinstance(stream.draw, Gather) and stream.num_batches is not None
    key = jax.ShapeDtypeStruct((), keys.dtype)
    shapes = jax.tree.leaves(jax.eval_shape(stream.draw.positions, key, jnp.int32(0)))
    require(
        len(shapes) == 1 and shapes[0].ndim == 1 and jnp.issubdtype(shapes[0].dtype, jnp.integer),
        "data on the host need Gather.positions of one integer for each example of a batch, got"
        f" {[(x.shape, str(x.dtype)) for x in shapes]}",
    )
    batch_size = shapes[0].shape[0]
    row = sum(x.nbytes // len(x) for x in jax.tree.leaves(examples))
    of_step = keys.shape[0] * stream.num_batches * batch_size * row
    length = max(1, min(num_steps, BLOCK_BYTES // max(1, of_step)))
    return Blocks(length, stream.num_batches, batch_size, length * of_step)


class Feed:
    """The blocks of a run, in order; a context, since it has a thread and open files.

    Of several processes each reads the examples of its own lanes, and of its own part of their
    batches, only.

    Args:
        stream_of: `hyper -> Stream` of a lane.
        lanes: whose batches are drawn.
        examples: tree of arrays [N, ...] on the host; those that map a file are read from it.
        sharding: of arrays [L, n, B, ...] on the devices.
        blocks: how the steps are cut.
        first_step: number of steps made already.
        last_step: number of steps after which the run ends.
        check: called while the feed waits; what it raises ends the waiting.
        clock: returns the time in seconds.

    Raises:
        DataError: a file cannot be opened.
    """

    def __init__(
        self,
        stream_of: Callable[[dict[str, Array]], Stream],
        lanes: Lane,
        examples: PyTree,
        sharding: jax.sharding.Sharding,
        blocks: Blocks,
        *,
        first_step: int,
        last_step: int,
        check: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._blocks = blocks
        self._sharding = sharding
        self._range = (first_step, last_step)
        self._check = check
        self._clock = clock
        self._num_lanes = lanes.failed_at.shape[0]
        named, self._tree = jax.tree_util.tree_flatten_with_path(examples)
        self._rows = [Rows(x, f"training data {jax.tree_util.keystr(at)}") for at, x in named]
        self._positions = positions_by_lanes(
            stream_of, lanes, blocks.num_steps * blocks.num_batches
        )
        self._ready: queue.Queue[Fed | BaseException] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="feed", daemon=True)
        self._block: Fed | None = None
        self._left = 0  # steps of the present block
        self._waits: list[float] = []

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()
        for rows in self._rows:
            rows.close()
        self._block = None

    def take(self, at_most: int) -> tuple[Fed, int]:
        """Take the next steps, which have to be made with what is returned.

        Args:
            at_most: number of steps wanted.

        Returns:
            The block that they are in, and how many of them it has, at least one.

        Raises:
            DataError: data that cannot be read, or have changed.
        """
        if self._left == 0:
            self._block = None  # free it before the next one is taken
            start = self._clock()
            self._block = self._next()
            self._waits.append(self._clock() - start)
            self._left = self._blocks.num_steps
        assert self._block is not None
        size = min(at_most, self._left)
        self._left -= size
        return self._block, size

    def waiting(self) -> Waiting:
        """Say how long `take` has waited so far.

        Returns:
            The times.
        """
        return Waiting(sum(self._waits[:1]), sum(self._waits[1:]))

    def _next(self) -> Fed:
        while True:
            try:
                block = self._ready.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                self._check()
                continue
            if isinstance(block, BaseException):
                raise block
            return block

    def _work(self) -> None:
        """The thread: blocks, or the error that ended it."""
        try:
            for block in self._all_blocks():
                if not self._put(block):
                    return
        except BaseException as error:  # whatever it is, it belongs to the thread that trains
            self._put(error)

    def _put(self, block: Fed | BaseException) -> bool:
        """Hand a block over when there is room; False if nobody wants it any more."""
        while not self._stop.is_set():
            try:
                self._ready.put(block, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def _all_blocks(self) -> Iterator[Fed]:
        start, end = self._range
        for first in range(start, end, self._blocks.num_steps):
            num_steps = min(self._blocks.num_steps, end - first)
            yield self._block_at(first, num_steps)

    def _block_at(self, first_step: int, num_steps: int) -> Fed:
        """The batches of some steps on the devices; what a short last block lacks are zeros."""
        blocks = self._blocks
        first = first_step * blocks.num_batches
        num_batches = blocks.num_steps * blocks.num_batches
        leading = (self._num_lanes, num_batches, blocks.batch_size)
        shards = {
            device: bounds(index or (), leading)
            for device, index in self._sharding.addressable_devices_indices_map(leading).items()
        }
        wanted = {
            place: self._positions(place[0], first)[
                :, : num_steps * blocks.num_batches, slice(*place[2])
            ]
            for place in set(shards.values())
        }
        leaves = [self._on_devices(rows, shards, wanted, leading) for rows in self._rows]
        examples = jax.tree_util.tree_unflatten(self._tree, leaves)
        return Fed(jax.block_until_ready(examples), np.int32(first))

    def _on_devices(
        self,
        rows: Rows,
        shards: dict[Any, tuple],
        positions: dict[tuple, np.ndarray],
        leading: tuple[int, int, int],
    ) -> Array:
        """Rows at the positions of each shard, as one array [L, n, B, ...] over the devices."""
        read = {place: _padded(rows.take(at), leading[1]) for place, at in positions.items()}
        arrays = [jax.device_put(read[place], device) for device, place in shards.items()]
        shape = (*leading, *rows.shape)
        return jax.make_array_from_single_device_arrays(shape, self._sharding, arrays)


def _padded(rows: np.ndarray, num_batches: int) -> np.ndarray:
    """Rows [l, n, B, ...] with zeros after them up to `num_batches`."""
    if rows.shape[1] == num_batches:
        return rows
    out = np.zeros((rows.shape[0], num_batches, *rows.shape[2:]), rows.dtype)
    out[:, : rows.shape[1]] = rows
    return out
