"""What every step of a run needs, and how its time was spent."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import NamedTuple

from dgm_jax.run.experiment import Experiment, Inputs
from dgm_jax.run.identity import RunIdentity
from dgm_jax.run.profile import Profile
from dgm_jax.run.settings import LaunchConfig, StudyConfig
from dgm_jax.run.tracking import Tracking
from dgm_jax.store.directory import RunDirectory
from dgm_jax.terminal import signals
from dgm_jax.terminal.progress import Progress


@dataclasses.dataclass
class Clock:
    """How the time of a run was spent.

    Attributes:
        start: the monotonic clock at the start, in seconds.
        compile_seconds: spent on compilation.
        train_seconds: spent on training.
        seed_steps: steps made, summed over lanes.
        seconds_alone: of training, while nothing was compiled beside it.
        seed_steps_alone: made in these seconds.
        feeding: of each group of arms with data on the host, how it waited for them.
    """

    start: float
    compile_seconds: float = 0.0
    train_seconds: float = 0.0
    seed_steps: int = 0
    seconds_alone: float = 0.0
    seed_steps_alone: int = 0
    feeding: dict[str, dict] = dataclasses.field(default_factory=dict)

    def count(self, seed_steps: int, seconds: float, alone: bool) -> None:
        """Counts a chunk.

        Args:
            seed_steps: steps made, summed over lanes.
            seconds: spent on them.
            alone: whether nothing was compiled beside it.
        """
        self.seed_steps += seed_steps
        self.train_seconds += seconds
        if alone:
            self.seed_steps_alone += seed_steps
            self.seconds_alone += seconds

    @property
    def rate(self) -> float | None:
        """Steps a second, summed over lanes; of chunks beside which nothing was compiled, if there
        are any. None before the first chunk."""
        if self.seconds_alone:
            return self.seed_steps_alone / self.seconds_alone
        return self.seed_steps / self.train_seconds if self.train_seconds else None


class Run(NamedTuple):
    """What every step of a run needs.

    Attributes:
        experiment, config, launch: what is run, and how.
        inputs: the data.
        directory: the run folder.
        progress: the display.
        clock: how the time was spent.
        arm_names: all arms of the run.
        profile: the trace of some steps.
        tracking: the trackers.
    """

    experiment: Experiment
    config: StudyConfig
    launch: LaunchConfig
    inputs: Inputs
    directory: RunDirectory
    progress: Progress
    clock: Clock
    arm_names: tuple[str, ...]
    profile: Profile
    tracking: Tracking

    @property
    def identity(self) -> RunIdentity:
        """What the run's checkpoints carry."""
        folder = self.directory
        return RunIdentity(folder.run_id, self.experiment.name, folder.config, self.inputs.identity)

    @contextlib.contextmanager
    def compiling(self, what: str) -> Iterator[None]:
        """A phase whose seconds count as compilation.

        Args:
            what: what is compiled, for the display.
        """
        start = time.monotonic()
        with self.progress.phase(f"compiling {what}"):
            yield
        self.clock.compile_seconds += time.monotonic() - start
        signals.check()
