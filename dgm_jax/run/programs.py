"""The compiled programs of a group of arms: each compiled once, from shapes, so that their sizes
are known before anything runs."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from dgm_jax.core import PyTree
from dgm_jax.parallel.devices import Distributed
from dgm_jax.run.cells import Group


class Programs:
    """What a group of arms runs. A program is compiled where it is first asked for.

    Attributes:
        group: the arms.
        distributed: their program over lanes, not compiled.
        shapes: of its lanes, with shardings.
        data_shapes: of what the programs read, with shardings.
    """

    def __init__(
        self,
        group: Group,
        distributed: Distributed,
        start_from: tuple[Any, dict],
        data: PyTree,
        compiling: Callable[[str], AbstractContextManager],
    ):
        """
        Args:
            group: the arms.
            distributed: of `lanes.distribute_group`.
            start_from: keys [L] and hyper-parameters {name: [L]}.
            data: what the programs read, anywhere.
            compiling: a context for the compilation of what it is told.
        """
        self.group, self.distributed = group, distributed
        self._start_from, self._compiling = start_from, compiling
        self.shapes = distributed.abstract(*start_from)
        self.data_shapes = distributed.abstract_data(data)

    @property
    def num_lanes(self) -> int:
        """Seeds times arms."""
        return self.shapes.failed_at.size

    @functools.cached_property
    def init(self):
        """`(keys, hyper) -> lanes`."""
        with self._compiling(f"initialisation of {self.group.name}"):
            return self.distributed.init.lower(*self._start_from).compile()

    @functools.cached_property
    def evaluate(self):
        """`(lanes, data) -> {name: [L, ...]}`."""
        with self._compiling(f"evaluation of {self.group.name}"):
            return self.distributed.compile_evaluate(self.shapes, self.data_shapes)

    @functools.cached_property
    def conclude(self):
        """The same of what is evaluated after the last step only; None where there is nothing."""
        lowered = self.distributed.lower_conclude(self.shapes, self.data_shapes)
        if lowered is None:
            return None
        with self._compiling(f"final evaluation of {self.group.name}"):
            return lowered.compile()

    @functools.cached_property
    def advance(self):
        """Any number of steps, as `parallel.Distributed.compile_advance` has it."""
        by = self.distributed.strategy
        with self._compiling(f"steps of {self.group.name} ({self.num_lanes} lanes by {by})"):
            return self.distributed.compile_advance(self.shapes, self.data_shapes)

    def first_lanes(self):
        """Lanes before the first step."""
        return self.init(*self._start_from)
