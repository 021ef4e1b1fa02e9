"""What a person, or a log file, sees while a run works.

The compiled program knows nothing of this: the host reports between chunks of steps.

    with Progress("auto") as progress:
        with progress.phase("compiling vanilla"):
            ...
        with progress.training("vanilla", total=10_000, num_seeds=5):
            for ...:
                progress.update(step, {"modes": modes_per_seed}, failed={3: 120})
"""

import collections
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Sequence

import rich.console

from dgm_jax.core import lookup
from dgm_jax.terminal import displays

_HEARTBEAT_SECONDS = 15.0


class Progress:
    """Reports phases, steps and seeds to one stream, in one of these modes.

    mode: `rich` (a live display for a terminal), `lines` (plain lines, at most one per `interval`
        seconds, for a log file), `json` (one JSON object per event), `quiet` (notices only), `auto`
        (`rich` on a terminal, else `lines`).
    stream: where to; standard error by default. If it breaks (a closed pipe), the display falls
        silent and the run goes on.
    """

    def __init__(
        self, mode: str = "auto", stream=None, *, interval: float = 5.0, clock=time.monotonic
    ):
        self.stream = sys.stderr if stream is None else stream
        if self.stream is None:  # standard error is closed
            mode = "quiet"
        elif mode == "auto":
            mode = (
                "rich"
                if self.stream.isatty() and rich.console.Console(file=self.stream).is_terminal
                else "lines"
            )
        sink = lookup(displays.DISPLAYS, mode, "progress mode")
        self.mode, self._clock, self._start = mode, clock, clock()
        self._sink = sink(self.stream, interval, clock)
        self.memory: Callable[[], int | None] = lambda: None  # bytes that the run holds now
        self._training: dict | None = None
        self._plan: list[tuple[int, int]] = []
        self._begun = 0

    def _event(self, kind: str, **fields):
        self._sink.event(
            {"event": kind, "elapsed": round(self._clock() - self._start, 3), **fields}
        )

    def notice(self, text: str) -> None:
        """A sentence that stays on the screen; shown in every mode."""
        self._event("notice", text=str(text))

    @contextlib.contextmanager
    def phase(self, name: str):
        """Announces a piece of work at once, and its seconds at the end, also when it fails or is
        interrupted."""
        start, done = self._clock(), threading.Event()
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
            if self._training is not None:
                self._training["pauses"].append((start, self._clock()))
            self._event("phase_end", name=name, seconds=self._clock() - start, outcome=outcome)

    def _beat(self, name, start, done):
        """Says every few seconds that a long phase is alive."""
        while not done.wait(_HEARTBEAT_SECONDS):
            self._event("phase_running", name=name, seconds=self._clock() - start)

    def plan(self, groups: Sequence[tuple[int, int]]) -> None:
        """What will be trained, so that the time left is that of the whole run.

        Args:
            groups: the number of arms and of lanes in each `training` to come, in their order. Each
                of them takes as many steps as the one that is at work.
        """
        self._plan = list(groups)
        self._begun = 0

    def _place(self) -> dict:
        """Which of the planned arms the next training has: the first, the last, of how many; and
        the lanes of the trainings after it."""
        before = self._plan[: self._begun]
        rest = self._plan[self._begun :]
        self._begun += 1
        if not rest:
            return {"arms": None, "lanes_to_come": 0}
        first = sum(arms for arms, _ in before) + 1
        count = sum(arms for arms, _ in self._plan)
        lanes = sum(lanes for _, lanes in rest[1:])
        return {"arms": [first, first + rest[0][0] - 1, count], "lanes_to_come": lanes}

    @contextlib.contextmanager
    def training(self, name: str, total: int, num_seeds: int, first_step: int = 0):
        """The steps `first_step`..`total` of one arm; `update` reports inside it."""
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
            "pauses": [],
            "window": collections.deque([(start, first_step)], maxlen=20),
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
            state, self._training = self._training, None
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
        """The state after `step`: metrics (name -> one figure per seed, or a number) and failed
        seeds (seed -> step).

        The rate is that of the last twenty updates; phases within the training, such as compiling,
        do not count. The time left is that of all arms that are planned, the ones to come at the
        present rate of lane-steps.
        """
        state = self._now_training("update")
        state["window"].append(self._moment(state, step))
        state["step"] = int(step)
        state["failed"] = {int(seed): int(at) for seed, at in (failed or {}).items()}
        state["metrics"] = metrics or {}
        self._steps("progress", state, state["window"][-1])

    def running(self, made: int) -> None:
        """`made` steps are made since the last `update`, and the next one is still to come: the bar
        moves, and the time left is known before the first row."""
        state = self._now_training("running")
        self._steps("running", state, self._moment(state, state["step"] + made))

    def _now_training(self, what: str) -> dict:
        if self._training is None:
            raise RuntimeError(f"Progress.{what} belongs inside Progress.training")
        return self._training

    def _moment(self, state: dict, step: int) -> tuple[float, int]:
        """The time without pauses, and the step."""
        return self._clock() - _covered(state["pauses"]), int(step)

    def _steps(self, kind: str, state: dict, now: tuple[float, int]) -> None:
        """An event with the rate between the oldest update of the window and now."""
        before, step = state["window"][0], now[1]
        seconds, steps = now[0] - before[0], step - before[1]
        rate = steps / seconds if seconds > 0 and steps > 0 else None
        here = rate and max(0, state["total"] - step) / rate
        # Arms to come: as many lane-steps a second as now.
        later = state["total"] * state["lanes_to_come"] / state["num_seeds"]
        self._event(
            kind,
            name=state["name"],
            arms=state["arms"],
            step=step,
            total=state["total"],
            seed_steps_per_second=rate and rate * state["num_seeds"],
            eta_seconds=rate and here + later / rate,
            eta_seconds_of_these_arms=here,
            num_seeds=state["num_seeds"],
            failed=state["failed"],
            metrics=state["metrics"],
            memory_bytes=self.memory(),
        )

    def close(self) -> None:
        """Takes the live display down and gives the terminal back as it was. Closing twice is
        fine."""
        self._sink.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_):
        self.close()


def _covered(spans: list[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of the spans (start, end), which may be nested."""
    total, reached = 0.0, -float("inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
