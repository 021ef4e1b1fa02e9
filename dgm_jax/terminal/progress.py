"""Progress of a run, on a terminal or in a log file.

The compiled program has no part in this: the host reports between chunks of steps.

    with Progress("auto") as progress:
        with progress.phase("compiling vanilla"):
            ...
        with progress.training("vanilla", total=10_000, num_seeds=5):
            for ...:
                progress.update(step, {"modes": modes_per_seed}, failed={3: 120})
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import rich.console

from dgm_jax.core import lookup
from dgm_jax.terminal import displays
from dgm_jax.terminal.rates import Rate

_HEARTBEAT_SECONDS = 15.0


class Progress:
    """Reports phases, steps and seeds to one stream.

    Args:
        mode: `rich` (a live display for a terminal), `lines` (plain lines, at most one per
            `interval` seconds, for a log file), `json` (one JSON object per event), `quiet`
            (notices only) or `auto` (`rich` on a terminal, otherwise `lines`).
        stream: where to write; standard error by default. If it breaks (a closed pipe), nothing
            more is shown and the run goes on.
        interval: seconds between lines.
        clock: returns the time in seconds.

    Attributes:
        stream: where to write; None if standard error is closed.
        mode: the mode, which is never `auto`.
        memory: returns the bytes of device memory that the run holds now, None if not known.

    Raises:
        ConfigError: an unknown mode.
    """

    def __init__(
        self,
        mode: str = "auto",
        stream: TextIO | None = None,
        *,
        interval: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream = sys.stderr if stream is None else stream
        if self.stream is None:  # standard error is closed
            mode = "quiet"
        elif mode == "auto":
            mode = (
                "rich"
                if self.stream.isatty() and rich.console.Console(file=self.stream).is_terminal
                else "lines"
            )
        display = lookup(displays.DISPLAYS, mode, "progress mode")
        self.mode = mode
        self._clock = clock
        self._start = clock()
        self._sink = display(self.stream, interval, clock)
        self.memory: Callable[[], int | None] = lambda: None
        self._training: dict | None = None
        self._plan: list[tuple[int, int]] = []
        self._begun = 0
        self._alongside = False

    def _event(self, kind: str, **fields: Any) -> None:
        self._sink.event(
            {"event": kind, "elapsed": round(self._clock() - self._start, 3), **fields}
        )

    def notice(self, text: str) -> None:
        """Show a sentence that stays on the screen, in every mode.

        Args:
            text: the sentence.
        """
        self._event("notice", text=str(text))

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Announce the work inside a context, and at its end show how long it took.

        The end is shown as well if the work fails or is interrupted.

        Args:
            name: of the work.

        Yields:
            Nothing.
        """
        start = self._clock()
        done = threading.Event()
        self._event("phase_start", name=name)
        beat = threading.Thread(target=self._beat, args=(name, start, done), daemon=True)
        beat.start()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            done.set()
            beat.join()
            if self._training is not None and not self._alongside:
                self._training["rate"].pause(start)
            self._event("phase_end", name=name, seconds=self._clock() - start, outcome=outcome)

    @contextlib.contextmanager
    def alongside(self) -> Iterator[None]:
        """Let phases inside a context go on beside the training, which does not pause for them."""
        self._alongside = True
        try:
            yield
        finally:
            self._alongside = False

    def _beat(self, name: str, start: float, done: threading.Event) -> None:
        """Report every few seconds that a long phase still runs."""
        while not done.wait(_HEARTBEAT_SECONDS):
            self._event("phase_running", name=name, seconds=self._clock() - start)

    def plan(self, groups: Sequence[tuple[int, int]]) -> None:
        """Tell what will be trained, so that the time left is that of the whole run.

        Args:
            groups: numbers of arms and of lanes in each future `training`, in their order. Each one
                is taken to have as many steps as the current one.
        """
        self._plan = list(groups)
        self._begun = 0

    def _place(self) -> dict:
        """Return the arms of the next training, [first, last, count], and the lanes after it."""
        before = self._plan[: self._begun]
        remaining = self._plan[self._begun :]
        self._begun += 1
        if not remaining:
            return {"arms": None, "lanes_to_come": 0}
        first = sum(arms for arms, _ in before) + 1
        last = first + remaining[0][0] - 1
        count = sum(arms for arms, _ in self._plan)
        lanes = sum(lanes for _, lanes in remaining[1:])
        return {"arms": [first, last, count], "lanes_to_come": lanes}

    @contextlib.contextmanager
    def training(
        self, name: str, total: int, num_seeds: int, first_step: int = 0
    ) -> Iterator["Progress"]:
        """Show the training inside a context, in which `update` and `running` report steps.

        Args:
            name: what is trained.
            total: the last step.
            num_seeds: number of lanes.
            first_step: number of steps made before.

        Yields:
            This object.
        """
        start = self._clock()
        place = self._place()
        self._training = {
            **place,
            "name": name,
            "total": total,
            "num_seeds": num_seeds,
            "failed": {},
            "metrics": {},
            "step": first_step,
            "rate": Rate(self._clock, first_step),
        }
        self._event(
            "training_start",
            name=name,
            arms=place["arms"],
            total=total,
            num_seeds=num_seeds,
            first_step=first_step,
            memory_bytes=self.memory(),
        )
        outcome = "failed"
        try:
            yield self
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            state = self._training
            self._training = None
            self._event(
                "training_end",
                name=name,
                step=state["step"],
                total=total,
                seconds=self._clock() - start,
                num_seeds=num_seeds,
                failed=state["failed"],
                outcome=outcome,
            )

    def update(
        self, step: int, metrics: dict | None = None, failed: dict[int, int] | None = None
    ) -> None:
        """Report the state after a step.

        The rate is that of the last twenty updates, without phases inside the training, such as
        compiling. The time left is that of all planned arms, with the current rate of lane-steps
        for future ones.

        Args:
            step: number of steps made.
            metrics: one value per seed, or a single number, by name.
            failed: the step at which a seed diverged, by seed.

        Raises:
            RuntimeError: there is no training.
        """
        state = self._now_training("update")
        state["rate"].update(int(step))
        state["step"] = int(step)
        state["failed"] = {int(seed): int(when) for seed, when in (failed or {}).items()}
        state["metrics"] = metrics or {}
        self._steps("progress", state, int(step))

    def running(self, made: int) -> None:
        """Report steps between two updates, so that the bar moves and the time left is known.

        Args:
            made: number of steps made since the last `update`.

        Raises:
            RuntimeError: there is no training.
        """
        state = self._now_training("running")
        self._steps("running", state, state["step"] + made)

    def waited(self, seconds: float) -> None:
        """Leave the last seconds out of the rate: the training waited for something else.

        Args:
            seconds: how many.

        Raises:
            RuntimeError: there is no training.
        """
        self._now_training("waited")["rate"].pause(self._clock() - seconds)

    def _now_training(self, what: str) -> dict:
        """Return the state of the training, or raise RuntimeError."""
        if self._training is None:
            raise RuntimeError(f"Progress.{what} belongs inside Progress.training")
        return self._training

    def _steps(self, kind: str, state: dict, step: int) -> None:
        """Report steps with their rate."""
        rate = state["rate"].at(step)
        eta = rate and max(0, state["total"] - step) / rate
        # Future arms: as many lane-steps per second as now.
        later_steps = state["total"] * state["lanes_to_come"] / state["num_seeds"]
        self._event(
            kind,
            name=state["name"],
            arms=state["arms"],
            step=step,
            total=state["total"],
            seed_steps_per_second=rate and rate * state["num_seeds"],
            eta_seconds=rate and eta + later_steps / rate,
            eta_seconds_of_these_arms=eta,
            num_seeds=state["num_seeds"],
            failed=state["failed"],
            metrics=state["metrics"],
            memory_bytes=self.memory(),
        )

    def close(self) -> None:
        """Take down the live display and restore the terminal; may be called twice."""
        self._sink.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
