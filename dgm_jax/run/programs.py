"""The compiled programs of a group of arms.

Each is compiled once, from shapes, so that their sizes are known before anything runs.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from dgm_jax.core import Lane, PyTree
from dgm_jax.parallel import processes
from dgm_jax.parallel.devices import Distributed
from dgm_jax.run.cells import Group
from dgm_jax.run.lanes import first_of
from dgm_jax.run.placement import Placement
from dgm_jax.run.turns import Turns
from dgm_jax.terminal import console

FIRST_STEPS = ("advance", "init")  # what a run needs before its first step
ALL = (*FIRST_STEPS, "evaluate", "evaluate_final")


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
        self._begun: dict[str, tuple[Any, Callable[[Any], Any]]] = {}
        self._sizes: dict[str, Any] = {}
        self.turns = Turns(distributed, len(start_from[0]))
        of_one_turn = first_of(start_from, distributed.num_lanes)
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

    def begin(self, compilers: Executor, names: Sequence[str] = ALL) -> None:
        """Lowers programs that are not compiled yet, and lets other threads compile them meanwhile.

        Args:
            compilers: the threads.
            names: of the programs.
        """
        left = [name for name in names if name not in vars(self)]
        if not left:
            return
        which = "first programs" if names == FIRST_STEPS else "programs"
        with self._compiling(f"{which} of {self.group.name}"):
            for name in left:
                lowered, finish = self._lowered(name)
                compiled = None if lowered is None else compilers.submit(lowered.compile).result
                self._begun[name] = compiled, finish

    def _lowered(self, name: str) -> tuple[Any, Callable[[Any], Any]]:
        """The lowered program behind a property, or None, and what makes the property of it."""
        made = self.distributed
        if name == "advance":
            part = made.lower_parts(self.shapes, self.steps_read)
            return part.lowered, part.advance
        if name == "init":
            return made.init.lower(*self._of_one_turn), _same
        lower = made.lower_evaluate if name == "evaluate" else made.lower_evaluate_final
        return lower(self.shapes, self.data_shapes), _same

    def _compiled(self, name: str, what: str) -> Any:
        with self._compiling(f"{what} of {self.group.name}"):
            if name in self._begun:
                compiled, finish = self._begun.pop(name)
            else:
                lowered, finish = self._lowered(name)
                compiled = None if lowered is None else lowered.compile
            return None if compiled is None else finish(compiled())

    @functools.cached_property
    def init(self) -> Any:
        """`(keys, hyper) -> lanes`."""
        return self._compiled("init", "initialization")

    @functools.cached_property
    def evaluate(self) -> Any:
        """`(lanes, data) -> {name: [L, ...]}`."""
        return self._compiled("evaluate", "evaluation")

    @functools.cached_property
    def evaluate_final(self) -> Any:
        """The same for what is evaluated only after the last step; None if there is nothing."""
        return self._compiled("evaluate_final", "final evaluation")

    @functools.cached_property
    def advance(self) -> Any:
        """Any number of steps, as `parallel.Distributed.compile_advance` makes it."""
        how = f"{self.turns.at_once} lanes by {self.distributed.strategy}"
        return self._compiled("advance", f"steps ({how})")

    def sizes(self, name: str) -> Any:
        """Returns what XLA says of the memory of a program. Asked once: it takes about 50 ms.

        Args:
            name: of `ALL`.

        Returns:
            Its `memory_analysis`; None if this backend does not tell.
        """
        if name not in self._sizes:
            program = getattr(self, name)
            compiled = program.compiled if name == "advance" else program
            self._sizes[name] = compiled.memory_analysis()
        return self._sizes[name]

    def first_lanes(self) -> Lane:
        """Returns the lanes before the first step."""
        return self.turns.first(self.init, *self._start_from)


def _same(compiled: Any) -> Any:
    return compiled


@contextmanager
def compiled_ahead(found: Sequence[Programs], names: Sequence[str] = ALL) -> Iterator[None]:
    """Lets threads compile programs of all groups while this one lowers them.

    XLA compiles without Python, and one program alone does not keep all cores busy. Tracing and
    lowering stay in the caller's thread, whose settings of JAX they depend on. Of several processes
    each compiles one program after the other, all in the same order.

    Args:
        found: the programs of all groups.
        names: which programs of each; those that are compiled already stay.

    Yields:
        Nothing; inside of the context a program is ready when its property returns.
    """
    if processes.several():
        yield
        return
    compilers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="compile")
    try:
        for programs in found:
            programs.begin(compilers, names)
        yield
    except BaseException:  # a signal, or a run that cannot fit: what is left need not be compiled
        console.leave_threads_behind()
        compilers.shutdown(wait=False, cancel_futures=True)
        raise
    compilers.shutdown()
