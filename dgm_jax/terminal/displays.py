"""Displays for the events of `Progress`: none, lines, JSON, or a live block on a terminal."""

import contextlib
import math
import threading
from collections.abc import Callable
from typing import Any, TextIO

import rich.console
import rich.live
import rich.progress_bar
import rich.spinner
import rich.table
import rich.text

from dgm_jax.core import json_values
from dgm_jax.terminal.console import printable
from dgm_jax.terminal.texts import (
    arms_text,
    clock_text,
    end_text,
    eta_text,
    memory_text,
    metric_text,
    progress_text,
    running_text,
    seeds_text,
)

_QUIET_SECONDS = 15.0  # after this time without a line, a log file is told that a chunk runs


class Quiet:
    """A display of notices only, and the base class of the others.

    Events may come from several threads. Once the stream is broken, nothing more is shown.

    Attributes:
        stream: where lines go; None if standard error is closed.
        interval: seconds between lines of steps.
        clock: returns the time in seconds.
        lock: held while an event is shown.
        broken: whether the stream has refused a line.
    """

    def __init__(self, stream: TextIO | None, interval: float, clock: Callable[[], float]) -> None:
        self.stream = stream
        self.interval = interval
        self.clock = clock
        self.lock = threading.RLock()
        self.broken = False

    def event(self, event: dict) -> None:
        """Show one event, unless the stream is broken.

        Args:
            event: an event of `Progress`; `event["event"]` is its kind.
        """
        with self.lock:
            if self.broken:
                return
            try:
                self.show(event)
            # A closed pipe or file: the run matters more than its display.
            except (OSError, ValueError):
                self.broken = True

    def show(self, event: dict) -> None:
        """Show one event on the stream.

        Args:
            event: an event of `Progress`.

        Raises:
            OSError: the stream is broken.
            ValueError: the stream is closed.
        """
        if event["event"] == "notice":
            self.line(printable(event["text"]))

    def line(self, text: str) -> None:
        """Write one line in the stream's encoding and flush it.

        Args:
            text: the line, without its end.
        """
        if self.stream is None:
            return
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Remove the display from the terminal; there is nothing to remove here."""


class Lines(Quiet):
    """Plain lines for a log file: during training at most one per interval, plus failing seeds."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.last = -math.inf  # time of the last line of steps
        self.failed: dict[int, int] = {}  # at that time
        self.training = False
        self.announced: set[str] = set()  # names of the phases whose start was shown
        self.last_line = self.clock()  # time of the last line of any kind

    def line(self, text: str) -> None:
        """Write one line and note the time."""
        super().line(text)
        self.last_line = self.clock()

    def show(self, event: dict) -> None:
        """Write a line for an event if one is due."""
        kind = event["event"]
        name = printable(event.get("name", ""))
        if kind == "phase_start":
            if not self.training or self.due():
                self.announced.add(name)
                self.line(f"{name} ...")
        elif kind == "phase_running":
            self.announced.add(name)
            self.line(f"{name} ... {clock_text(event['seconds'])} so far")
        elif kind == "phase_end":
            if name in self.announced or event["outcome"] != "done":
                self.announced.discard(name)
                self.line(end_text(event))
        elif kind == "training_start":
            self.last = -math.inf
            self.failed = {}
            self.training = True
            arms = arms_text(event["arms"])
            self.line(
                f"{name}{arms and f' ({arms})'}: training {event['num_seeds']} seeds, step"
                f" {event['first_step']} to {event['total']}"
            )
        elif kind == "training_end":
            self.training = False
            self.line(end_text(event))
        elif kind == "running":
            if self.clock() - self.last_line >= _QUIET_SECONDS:
                self.line(running_text(event))
        elif kind == "progress":
            if event["failed"] != self.failed or event["step"] >= event["total"] or self.due():
                self.last = self.clock()
                self.failed = event["failed"]
                self.line(progress_text(event))
        else:
            super().show(event)

    def due(self) -> bool:
        """Return whether the last line of steps is an interval ago; if so, start a new interval."""
        is_due = self.clock() - self.last >= self.interval
        self.last = self.clock() if is_due else self.last
        return is_due


class Json(Quiet):
    """One JSON object per line for every event, with NaN as null."""

    def show(self, event: dict) -> None:
        """Write an event as a line of JSON."""
        self.line(json_values.dumps(event))


class Rich(Quiet):
    """A live block at the foot of a terminal: phases, a bar, the time left, metrics, seeds."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.console = rich.console.Console(file=self.stream)
        self.console.on_broken_pipe = self.fall_silent  # by default, rich ends the process
        self.phases: list[tuple[str, float, rich.spinner.Spinner]] = []  # those that run, by start
        self.training: dict | None = None  # the event that started it
        self.latest: dict | None = None  # the newest event of the training
        self.live: rich.live.Live | None = None  # made on first use
        self.spinner = rich.spinner.Spinner("dots")

    def show(self, event: dict) -> None:
        """Update the live block, and print above it what is to stay."""
        kind = event["event"]
        if kind == "phase_start":
            self.phases.append((event["name"], self.clock(), rich.spinner.Spinner("dots")))
        elif kind == "phase_end":
            self.phases = [phase for phase in self.phases if phase[0] != event["name"]]
            if event["outcome"] != "done" or self.training is None or event["seconds"] >= 2:
                self.say(end_text(event))
        elif kind == "training_start":
            self.training = self.latest = event
            self.began = self.clock()
        elif kind == "training_end":
            self.training = self.latest = None
            self.say(
                end_text(event),
                "green" if event["outcome"] == "done" and not event["failed"] else "yellow",
            )
        elif kind in ("progress", "running"):
            self.latest = event
        elif kind == "notice":
            self.say(printable(event["text"]), "yellow")
        self.refresh()

    def fall_silent(self) -> None:
        """Show nothing from now on."""
        self.broken = True
        self.console.quiet = True

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the live block, where it stays.

        Args:
            text: the line.
            style: its style, in the words of rich.
        """
        self.console.print(rich.text.Text(text, style=style), soft_wrap=True)

    def refresh(self) -> None:
        """Draw the live block, which is made on first use."""
        if self.live is None:
            self.live = rich.live.Live(
                get_renderable=self.block,
                console=self.console,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self.live.start()
        self.live.refresh()

    def block(self) -> rich.table.Table:
        """Return the rows of the live block: bar, training, metrics, seeds, and each phase."""
        rows = rich.table.Table.grid(padding=(0, 1))
        event = self.latest
        if event is not None and "step" in event:
            bar = rich.progress_bar.ProgressBar(
                total=max(1, event["total"]), completed=event["step"], width=30
            )
            rate = event["seed_steps_per_second"]
            line = rich.table.Table.grid(padding=(0, 1))
            line.add_row(
                rich.text.Text(printable(event["name"]), style="bold"),
                bar,
                f"{event['step']}/{event['total']}",
                f"{rate:.4g} seed-steps/s, {eta_text(event)}" if rate else "",
                arms_text(event["arms"]),
            )
            rows.add_row(line)
            rows.add_row(self.working("training", event))
            rows.add_row(rich.text.Text(metric_text(event["metrics"]), style="dim"))
            rows.add_row(
                rich.text.Text(
                    "seeds: " + seeds_text(event["num_seeds"], event["failed"]),
                    style="yellow" if event["failed"] else "green",
                )
            )
        elif event is not None:
            about = f"first of {event['total']} steps for {event['num_seeds']} seeds"
            rows.add_row(self.working(f"{printable(event['name'])}: {about}", event))
        for name, start, spinner in self.phases:
            spinner.update(
                text=rich.text.Text(f"{printable(name)} ... {self.clock() - start:.0f} s")
            )
            rows.add_row(spinner)
        return rows

    def working(self, about: str, event: dict) -> rich.spinner.Spinner:
        """Return a spinner with the time since training began, so that a long step is seen to run.

        Args:
            about: what runs.
            event: the newest event of the training.

        Returns:
            The spinner.
        """
        parts = [about, clock_text(self.clock() - self.began), memory_text(event["memory_bytes"])]
        parts += [] if "step" in event else [arms_text(event["arms"])]
        self.spinner.update(text=rich.text.Text("  ".join(filter(None, parts)), style="dim"))
        return self.spinner

    def close(self) -> None:
        """Take down the live block."""
        with self.lock:
            live = self.live
            self.live = None
        if live is not None:
            with contextlib.suppress(OSError, ValueError):
                live.stop()


DISPLAYS = {"rich": Rich, "lines": Lines, "json": Json, "quiet": Quiet}
