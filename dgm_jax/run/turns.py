"""Lanes that do not fit on the devices at once take turns, in groups of equal size.

The group whose turn it is makes the steps of a chunk and is evaluated; the others wait on the host.
All groups run the same programs, those of one group, and the last one is filled up with padding.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import parallel
from dgm_jax.core import Key, Lane, PyTree, is_key
from dgm_jax.parallel.devices import Distributed
from dgm_jax.parallel.places import fetch, pad, shapes_on_host


class Turns:
    """The lanes of a group of arms, and which of them are on the devices at once.

    Where all are, they stay there between chunks, with padding behind them. Otherwise all are on
    the host between chunks.

    Attributes:
        num_lanes: L, all lanes.
        at_once: N, those of one turn.
    """

    def __init__(self, distributed: Distributed, num_lanes: int):
        """Counts the turns.

        Args:
            distributed: the program over the lanes of one turn.
            num_lanes: L.
        """
        self.num_lanes = num_lanes
        self.at_once = distributed.num_lanes
        self._distributed = distributed

    @property
    def count(self) -> int:
        """The number of turns."""
        return -(-self.num_lanes // self.at_once)

    def each(self, function: Callable[[Lane, int], PyTree], lanes: Lane) -> PyTree:
        """Calls a function with the lanes of each turn.

        Args:
            function: `(lanes on the devices, number of the turn) -> tree of arrays [places, ...]`.
            lanes: all lanes.

        Returns:
            The results of all lanes: on the host, [L, ...], if there are several turns, and
            otherwise as the function returned them.
        """
        if self.count == 1:
            return function(lanes, 0)
        results = []
        for turn in range(self.count):
            part = self._part(lanes, turn)
            result = function(self._distributed.place_lanes(part), turn)
            results.append(fetch(result, len(part.failed_at)))
        return jax.tree.map(_joined, *results)

    def first(self, init: Callable[..., Lane], keys: Key, hyper: dict[str, Any]) -> Lane:
        """Makes all lanes before their first step.

        Args:
            init: the program for the lanes of one turn.
            keys: [L].
            hyper: {name: [L]}.

        Returns:
            The lanes.
        """
        if self.count == 1:
            return jax.block_until_ready(init(*self._distributed.place_data((keys, hyper))))
        results = []
        for turn in range(self.count):
            start = self._part((keys, hyper), turn)
            padded = self._distributed.place_data(pad(start, self.at_once))
            results.append(fetch(init(*padded), len(start[0])))
        return jax.tree.map(_joined, *results)

    def whole(self, lanes: Lane) -> Lane:
        """Returns the lanes without padding, [L, ...], such as for a checkpoint.

        Args:
            lanes: all lanes.
        """
        return lanes if self.count > 1 else parallel.trim(lanes, self.num_lanes)

    def placed(self, lanes: Lane) -> Lane:
        """Puts lanes that were restored where they belong between chunks.

        Args:
            lanes: [L, ...], of `saved_shapes`.

        Returns:
            The lanes.
        """
        if self.count > 1:
            return fetch(lanes, self.num_lanes)
        return lanes if self._as_saved else self._distributed.place_lanes(lanes)

    def saved_shapes(self, shapes: Lane) -> Lane:
        """Determines the shapes of `whole`, with shardings to restore a checkpoint into.

        Args:
            shapes: of the lanes of one turn.

        Returns:
            Those of all lanes; on the host where they are not the lanes of one turn.
        """
        return shapes if self._as_saved else shapes_on_host(shapes, self.num_lanes)

    @property
    def _as_saved(self) -> bool:
        return self._distributed.num_places == self.num_lanes and self.count == 1

    def _part(self, lanes: PyTree, turn: int) -> PyTree:
        """What belongs to the lanes of a turn."""
        which = slice(turn * self.at_once, (turn + 1) * self.at_once)
        return jax.tree.map(lambda x: x[which], lanes)


def _joined(*parts: Any) -> Any:
    """Arrays, or keys, one behind the other."""
    return jnp.concatenate(parts) if is_key(parts[0]) else np.concatenate(parts)
