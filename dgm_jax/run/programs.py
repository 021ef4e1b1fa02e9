"""The compiled programs of a group of arms.

Each is compiled once, from shapes, so that their sizes are known before anything runs.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax

from dgm_jax.core import Lane, PyTree
from dgm_jax.parallel.devices import Distributed
from dgm_jax.run.cells import Group
from dgm_jax.run.placement import Placement
from dgm_jax.run.turns import Turns


class Programs:
    """What a group of arms runs. A program is compiled when it is first used.

    Attributes:
        group: the arms.
        distributed: their program over the lanes of one turn, not compiled.
        turns: which lanes are on the devices at once.
        shapes: of the lanes of one turn with their padding, with shardings.
        placement: where the data are.
        data_shapes: of what the evaluations read, with shardings.
        steps_read: the same of what the steps read.
    """

    def __init__(
        self,
        group: Group,
        distributed: Distributed,
        start_from: tuple[Any, dict],
        data: PyTree,
        compiling: Callable[[str], AbstractContextManager],
        placement: Placement | None = None,
    ):
        """Determines the shapes; compiles nothing.

        Args:
            group: the arms.
            distributed: what `lanes.distribute_group` returned.
            start_from: keys [L] and hyper-parameters {name: [L]} of all lanes.
            data: what the programs read, on any device.
            compiling: returns the context of a compilation, given what is compiled.
            placement: where the data are; None for the devices.
        """
        self.group = group
        self.distributed = distributed
        self._start_from = start_from
        self._compiling = compiling
        self.turns = Turns(distributed, len(start_from[0]))
        of_one_turn = jax.tree.map(lambda x: x[: distributed.num_lanes], start_from)
        self._of_one_turn = distributed.place_data(of_one_turn)
        self.shapes = distributed.abstract(*of_one_turn)
        self.placement = Placement("device", data, data) if placement is None else placement
        self.data_shapes = distributed.abstract_data(self.placement.resident)
        on_host = self.placement.blocks is not None
        self.steps_read = self.placement.steps_read if on_host else self.data_shapes

    @property
    def num_lanes(self) -> int:
        """Seeds times arms."""
        return self.turns.num_lanes

    @property
    def saved_shapes(self) -> Lane:
        """Shapes of all lanes as checkpoints have them, with shardings."""
        return self.turns.saved_shapes(self.shapes)

    @functools.cached_property
    def init(self) -> Any:
        """`(keys, hyper) -> lanes`."""
        with self._compiling(f"initialisation of {self.group.name}"):
            return self.distributed.init.lower(*self._of_one_turn).compile()

    @functools.cached_property
    def evaluate(self) -> Any:
        """`(lanes, data) -> {name: [L, ...]}`."""
        with self._compiling(f"evaluation of {self.group.name}"):
            return self.distributed.compile_evaluate(self.shapes, self.data_shapes)

    @functools.cached_property
    def evaluate_final(self) -> Any:
        """The same for what is evaluated only after the last step; None if there is nothing."""
        lowered = self.distributed.lower_evaluate_final(self.shapes, self.data_shapes)
        if lowered is None:
            return None
        with self._compiling(f"final evaluation of {self.group.name}"):
            return lowered.compile()

    @functools.cached_property
    def advance(self) -> Any:
        """Any number of steps, as `parallel.Distributed.compile_advance` makes it."""
        by = self.distributed.strategy
        lanes = self.turns.at_once
        with self._compiling(f"steps of {self.group.name} ({lanes} lanes by {by})"):
            return self.distributed.compile_advance(self.shapes, self.steps_read)

    def first_lanes(self) -> Lane:
        """Returns the lanes before the first step."""
        return self.turns.first(self.init, *self._start_from)
