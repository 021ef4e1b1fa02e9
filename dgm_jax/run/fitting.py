"""Requires that a run fits into memory, before it writes anything.

What a run needs is known when its programs are compiled (`run.estimate`). The first chunk of a
fresh run needs two of them. It is trained while the others are compiled, and nothing is logged or
saved before all are known to fit.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import jax

from dgm_jax.parallel import processes
from dgm_jax.run.estimate import Estimate, estimate
from dgm_jax.run.lanes import devices_of
from dgm_jax.run.memory import advice, taken_of
from dgm_jax.run.programs import FIRST_STEPS, Programs, compiled_ahead
from dgm_jax.run.settings import LaunchConfig, StudyConfig

_FIRST_STEP_SECONDS = 1.0  # a first step that takes no longer is not slowed by what is beside it


def require_all_fit(
    found: Sequence[Programs],
    config: StudyConfig,
    launch: LaunchConfig,
    taken: Callable[[Any], int] = taken_of,
) -> Estimate:
    """Requires that every group fits into memory. Compiles all groups first, as a fresh run does.

    Args:
        found: the programs of all groups.
        config: settings of the study.
        launch: how it is launched.
        taken: returns the bytes that are held already, given the first device.

    Returns:
        The estimate of the group that needs most.

    Raises:
        ConfigError: there is not enough memory; the message has the largest parts, and what would
            fit.
    """
    fits = lambda programs: require_fits(programs, config, launch, fresh=True, taken=taken)
    with compiled_ahead(found):
        for programs in found:  # where one does not fit, the next ones need not be compiled
            fits(programs)
    return max(map(fits, found), key=lambda estimated: estimated.num_bytes)


def require_fits(
    programs: Programs,
    config: StudyConfig,
    launch: LaunchConfig,
    *,
    fresh: bool,
    first_steps: bool = False,
    taken: Callable[[Any], int] = taken_of,
) -> Estimate:
    """Requires that a group fits into memory, in all processes of the run.

    Args:
        programs: of the group.
        config: settings of the study.
        launch: how it is launched.
        fresh: whether the run starts at step 0.
        first_steps: whether only what comes before the first evaluation counts.
        taken: returns the bytes that are held already, given the first device.

    Returns:
        The estimate.

    Raises:
        ConfigError: there is not enough memory; the message has the largest parts, and what would
            fit.
    """
    needed = estimate(
        programs,
        devices=devices_of(launch),
        fresh=fresh,
        keeps_best=bool(launch.keep_best),
        first_steps=first_steps,
        taken=taken,
    )
    remedy = advice(config, programs.distributed.strategy)
    if fresh:
        seeds = needed.fitting_lanes // len(programs.group.arms)
        most = f"at most {seeds:,} seeds" if seeds else "not one seed of each arm"
        remedy = f"by this estimate {most} would fit: {remedy}"
    else:
        remedy = f"go on where there is more, or begin again in another folder and {remedy}"
    message = f"this run cannot fit: it would need {needed}; {remedy}"
    processes.require_everywhere(needed.fits, message)
    return needed


def beside_first_chunk(
    found: Sequence[Programs],
    config: StudyConfig,
    launch: LaunchConfig,
    alongside: Callable[[], AbstractContextManager],
) -> "Beside":
    """Prepares the first chunk of a fresh run, and what can be done beside it.

    Several processes, lanes that take turns, data on the host and a trace of the steps (--profile)
    have nothing beside the first chunk: all is compiled and checked here.

    Args:
        found: the programs of all groups; the first one is trained first.
        config: settings of the study.
        launch: how it is launched.
        alongside: returns a context for what is done beside a chunk.

    Returns:
        The compilation of all other programs, and the check that every group fits into memory.

    Raises:
        ConfigError: there is not enough memory.
    """
    found = tuple(found)
    first = found[0]
    apart = processes.several() or launch.profile
    if apart or first.turns.count > 1 or first.placement.blocks is not None:
        require_all_fit(found, config, launch)
        return Beside()
    with compiled_ahead([first], FIRST_STEPS):
        needed = require_fits(first, config, launch, fresh=True, first_steps=True)
    trained = needed.copies * needed.moment.num_bytes  # what the chunk holds

    def taken(device: Any) -> int:
        return max(needed.taken, taken_of(device) - trained)

    def work() -> None:
        with alongside():
            require_all_fit(found, config, launch, taken)

    return Beside(work)


class Beside:
    """Work that the first chunk of a run does not wait for: done here while a thread trains it.

    JAX traces by the settings of the thread that it traces in, so the chunk, which runs compiled
    programs only, is what goes to another thread.

    Args:
        work: the work; None for none.
    """

    def __init__(self, work: Callable[[], object] | None = None) -> None:
        self._work = work
        self._failed = threading.Event()
        self._stepped = threading.Event()

    @property
    def waits(self) -> bool:
        """Whether the work is still to be done."""
        return self._work is not None

    def train(self, chunk: Callable[[], Any]) -> Any:
        """Trains a chunk; the first time beside the work.

        Args:
            chunk: trains it.

        Returns:
            What the chunk returns.

        Raises:
            Exception: what the work or the chunk raises; if both do, what the work does.
        """
        work = self._work
        self._work = None
        if work is None:
            return chunk()
        checks = [getattr(jax.config, name) for name in ("jax_debug_nans", "jax_debug_infs")]
        with ThreadPoolExecutor(1, thread_name_prefix="first chunk") as trainer:
            trained = trainer.submit(_checked, chunk, *checks)
            trained.add_done_callback(lambda _: self._stepped.set())
            try:
                self._stepped.wait(_FIRST_STEP_SECONDS)
                work()
            except BaseException:  # a signal, or a run that cannot fit
                self._failed.set()
                raise
            return trained.result()

    def check(self) -> None:
        """Ends the chunk between two of its parts if the work has failed. To be called there.

        Raises:
            Abandoned: nobody waits for the chunk any more.
        """
        self._stepped.set()
        if self._failed.is_set():
            raise Abandoned


def _checked(chunk: Callable[[], Any], nans: bool, infs: bool) -> Any:
    """Trains a chunk under the settings of another thread that matter to compiled programs."""
    with jax.debug_nans(nans), jax.debug_infs(infs):
        return chunk()


class Abandoned(Exception):
    """A chunk that is not needed, since something else has failed."""
