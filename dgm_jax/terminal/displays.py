"""How `Progress` shows its events: nothing, lines, JSON, or a live block on a terminal."""

import contextlib
import math
import threading

import rich.console
import rich.live
import rich.progress_bar
import rich.spinner
import rich.table
import rich.text

from dgm_jax.core import json_values
from dgm_jax.terminal.texts import (
    arms_text,
    clock_text,
    end_text,
    eta_text,
    memory_text,
    metric_text,
    printable,
    progress_text,
    running_text,
    seeds_text,
)

_QUIET_SECONDS = 15.0  # after so long without a line a log file hears that a chunk is at work


class Quiet:
    """Notices only; also what the others build on: one lock, and silence once the stream is
    broken."""

    def __init__(self, stream, interval, clock):
        self.stream, self.interval, self.clock = stream, interval, clock
        self.lock, self.broken = threading.RLock(), False

    def event(self, event: dict) -> None:
        """Shows one event, unless the stream is broken."""
        with self.lock:
            if self.broken:
                return
            try:
                self.show(event)
            # a closed pipe or file: the run matters more than its display
            except (OSError, ValueError):
                self.broken = True

    def show(self, event):
        """What this display makes of an event."""
        if event["event"] == "notice":
            self.line(printable(event["text"]))

    def line(self, text):
        """One line of text in the stream's encoding, at once."""
        if self.stream is None:
            return
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()

    def close(self):
        """Nothing to take down."""


class Lines(Quiet):
    """Plain lines, for a log file: while a model trains at most one per interval, apart from a seed
    that fails."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.last, self.failed, self.training, self.announced = -math.inf, {}, False, set()
        self.spoke = self.clock()

    def line(self, text):
        """One line, and when it was."""
        super().line(text)
        self.spoke = self.clock()

    def show(self, event):
        kind, name = event["event"], printable(event.get("name", ""))
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
            self.last, self.failed, self.training = -math.inf, {}, True
            which = arms_text(event["arms"])
            self.line(
                f"{name}{which and f' ({which})'}: training {event['num_seeds']} seeds, step"
                f" {event['first_step']} to {event['total']}"
            )
        elif kind == "training_end":
            self.training = False
            self.line(end_text(event))
        elif kind == "running":
            if self.clock() - self.spoke >= _QUIET_SECONDS:
                self.line(running_text(event))
        elif kind == "progress":
            if event["failed"] != self.failed or event["step"] >= event["total"] or self.due():
                self.last, self.failed = self.clock(), event["failed"]
                self.line(progress_text(event))
        else:
            super().show(event)

    def due(self):
        """Whether the last line is long enough ago; if so, now counts as the last one."""
        late = self.clock() - self.last >= self.interval
        self.last = self.clock() if late else self.last
        return late


class Json(Quiet):
    """One JSON object per line, NaN as null; nothing is left out."""

    def show(self, event):
        self.line(json_values.dumps(event))


class Rich(Quiet):
    """A live block at the foot of a terminal: the phase with its running seconds, a bar, figures,
    seeds."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.console = rich.console.Console(file=self.stream)
        self.console.on_broken_pipe = self.fall_silent  # rich's own answer is to end the process
        self.phases: list[tuple[str, float, rich.spinner.Spinner]] = []
        self.training = self.latest = self.live = None
        self.spinner = rich.spinner.Spinner("dots")

    def show(self, event):
        kind = event["event"]
        if kind == "phase_start":
            self.phases.append((event["name"], self.clock(), rich.spinner.Spinner("dots")))
        elif kind == "phase_end":
            self.phases = [p for p in self.phases if p[0] != event["name"]]
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

    def fall_silent(self):
        """From now on nothing is shown."""
        self.broken = self.console.quiet = True

    def say(self, text, style=""):
        """A line above the live block, which stays."""
        self.console.print(rich.text.Text(text, style=style), soft_wrap=True)

    def refresh(self):
        """Draws the live block, made on first use."""
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

    def block(self):
        """The live block as it stands now."""
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

    def working(self, about: str, event: dict):
        """A spinner with the seconds since training began, so that a long step is seen to run."""
        parts = [about, clock_text(self.clock() - self.began), memory_text(event["memory_bytes"])]
        parts += [] if "step" in event else [arms_text(event["arms"])]
        self.spinner.update(text=rich.text.Text("  ".join(filter(None, parts)), style="dim"))
        return self.spinner

    def close(self):
        with self.lock:
            live, self.live = self.live, None
        if live is not None:
            with contextlib.suppress(OSError, ValueError):
                live.stop()


DISPLAYS = {"rich": Rich, "lines": Lines, "json": Json, "quiet": Quiet}
