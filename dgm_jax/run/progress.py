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
import math
import sys
import threading
import time
from typing import Any

import numpy as np
import rich.console
import rich.live
import rich.progress_bar
import rich.spinner
import rich.table
import rich.text

from dgm_jax.core import lookup
from dgm_jax.run import records

_HEARTBEAT_SECONDS = 15.0


def printable(text: Any) -> str:
    """One line of text without control characters, whatever came in."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def clock_text(seconds: float | None) -> str:
    """Seconds as `12 s`, `3:05` or `2:03:05`; `?` where unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "?"
    whole = int(round(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes == 0:
        return f"{rest} s"
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def seeds_text(num_seeds: int, failed: dict[int, int]) -> str:
    """`5 ok`, or `4 ok, 1 diverged at step 120 (seed 3)`; at most four of the failed ones are spelled out."""
    if not failed:
        return f"{num_seeds} ok"
    places = [f"at step {step} (seed {seed})" for seed, step in sorted(failed.items())]
    more = f" and {len(places) - 4} more" if len(places) > 4 else ""
    return f"{num_seeds - len(failed)} ok, {len(failed)} diverged {', '.join(places[:4])}{more}"


class Progress:
    """Reports phases, steps and seeds to one stream, in one of these modes.

    mode: `rich` (a live display for a terminal), `lines` (plain lines, at most one per `interval` seconds, for a log
        file), `json` (one JSON object per event), `quiet` (notices only), `auto` (`rich` on a terminal, else `lines`).
    stream: where to; standard error by default. If it breaks (a closed pipe), the display falls silent and the run
        goes on.
    """

    def __init__(self, mode: str = "auto", stream=None, *, interval: float = 5.0, clock=time.monotonic):
        self.stream = sys.stderr if stream is None else stream
        if mode == "auto":
            mode = "rich" if self.stream.isatty() and rich.console.Console(file=self.stream).is_terminal else "lines"
        sink = lookup({"rich": _Rich, "lines": _Lines, "json": _Json, "quiet": _Quiet}, mode, "progress mode")
        self.mode, self._clock, self._start = mode, clock, clock()
        self._sink = sink(self.stream, interval, clock)
        self._training: dict | None = None

    def _event(self, kind: str, **fields):
        self._sink.event({"event": kind, "elapsed": round(self._clock() - self._start, 3), **fields})

    def notice(self, text: str) -> None:
        """A sentence that stays on the screen; shown in every mode."""
        self._event("notice", text=str(text))

    @contextlib.contextmanager
    def phase(self, name: str):
        """Announces a piece of work at once, and its seconds at the end, also when it fails or is interrupted."""
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
            self._event("phase_end", name=name, seconds=self._clock() - start, outcome=outcome)

    def _beat(self, name, start, done):
        """Says every few seconds that a long phase is alive."""
        while not done.wait(_HEARTBEAT_SECONDS):
            self._event("phase_running", name=name, seconds=self._clock() - start)

    @contextlib.contextmanager
    def training(self, name: str, total: int, num_seeds: int, first_step: int = 0):
        """The steps `first_step`..`total` of one arm; `update` reports inside it."""
        start = self._clock()
        self._training = {"name": name, "total": total, "num_seeds": num_seeds, "failed": {}, "step": first_step,
                          "window": collections.deque([(start, first_step)], maxlen=20)}
        self._event("training_start", name=name, total=total, num_seeds=num_seeds, first_step=first_step)
        outcome = "failed"
        try:
            yield self
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            state, self._training = self._training, None
            self._event("training_end", name=name, step=state["step"], total=total, seconds=self._clock() - start,
                        num_seeds=num_seeds, failed=state["failed"], outcome=outcome)

    def update(self, step: int, metrics: dict | None = None, failed: dict[int, int] | None = None) -> None:
        """The state after `step`: metrics (name -> one figure per seed, or a number) and failed seeds (seed -> step)."""
        state = self._training
        if state is None:
            raise RuntimeError("Progress.update belongs inside Progress.training")
        window = state["window"]
        window.append((self._clock(), int(step)))
        state["step"] = int(step)
        state["failed"] = {int(seed): int(at) for seed, at in (failed or {}).items()}
        seconds, steps = window[-1][0] - window[0][0], window[-1][1] - window[0][1]
        rate = steps / seconds if seconds > 0 and steps > 0 else None
        self._event("progress", name=state["name"], step=int(step), total=state["total"],
                    seed_steps_per_second=rate and rate * state["num_seeds"],
                    eta_seconds=rate and max(0, state["total"] - int(step)) / rate,
                    num_seeds=state["num_seeds"], failed=state["failed"], metrics=metrics or {})

    def close(self) -> None:
        """Takes the live display down and gives the terminal back as it was. Closing twice is fine."""
        self._sink.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_):
        self.close()


def _metric_text(metrics: dict, limit: int = 6) -> str:
    """`modes 7.6  valid 0.85`: means over the seeds that have a figure."""
    parts = []
    for name, values in list(metrics.items())[:limit]:
        array = np.asarray(records.plain(values), np.float64)
        good = array[np.isfinite(array)]
        parts.append(f"{printable(name)} {good.mean():.4g}" if good.size else f"{printable(name)} -")
    return "  ".join(parts)


def _progress_text(event: dict) -> str:
    share = 100 * event["step"] / event["total"] if event["total"] else 100.0
    rate = event["seed_steps_per_second"]
    return "  ".join(filter(None, [
        f"{printable(event['name'])} {event['step']}/{event['total']} ({share:.0f} %)",
        f"{rate:.4g} seed-steps/s" if rate else "",
        f"ETA {clock_text(event['eta_seconds'])}" if rate else "",
        f"seeds: {seeds_text(event['num_seeds'], event['failed'])}",
        _metric_text(event["metrics"])]))


def _end_text(event: dict) -> str:
    how = {"done": "", "failed": " (failed)", "interrupted": " (interrupted)"}[event["outcome"]]
    if event["event"] == "phase_end":
        return f"{printable(event['name'])}: {event['seconds']:.1f} s{how}"
    return (f"{printable(event['name'])}: step {event['step']}/{event['total']} after {clock_text(event['seconds'])}{how}"
            f"  seeds: {seeds_text(event['num_seeds'], event['failed'])}")


class _Quiet:
    """Notices only; also what the others build on: one lock, and silence once the stream is broken."""

    def __init__(self, stream, interval, clock):
        self.stream, self.interval, self.clock = stream, interval, clock
        self.lock, self.broken = threading.RLock(), False

    def event(self, event: dict) -> None:
        with self.lock:
            if self.broken:
                return
            try:
                self.show(event)
            except (OSError, ValueError):  # a closed pipe or file: the run matters more than its display
                self.broken = True

    def show(self, event):
        if event["event"] == "notice":
            self.line(printable(event["text"]))

    def line(self, text):
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self.stream.flush()

    def close(self):
        """Nothing to take down."""


class _Lines(_Quiet):
    """Plain lines, for a log file: while a model trains at most one per interval, apart from a seed that fails."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.last, self.failed, self.training, self.announced = -math.inf, {}, False, set()

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
                self.line(_end_text(event))
        elif kind == "training_start":
            self.last, self.failed, self.training = -math.inf, {}, True
            self.line(f"{name}: training {event['num_seeds']} seeds, step {event['first_step']} to {event['total']}")
        elif kind == "training_end":
            self.training = False
            self.line(_end_text(event))
        elif kind == "progress":
            if event["failed"] != self.failed or event["step"] >= event["total"] or self.due():
                self.last, self.failed = self.clock(), event["failed"]
                self.line(_progress_text(event))
        else:
            super().show(event)

    def due(self):
        """Whether the last line is long enough ago; if so, now counts as the last one."""
        late = self.clock() - self.last >= self.interval
        self.last = self.clock() if late else self.last
        return late


class _Json(_Quiet):
    """One JSON object per line, NaN as null; nothing is left out."""

    def show(self, event):
        self.line(records.dumps(event))


class _Rich(_Quiet):
    """A live block at the foot of a terminal: the phase with its running seconds, a bar, figures, seeds."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.console = rich.console.Console(file=self.stream)
        self.phases: list[tuple[str, float, rich.spinner.Spinner]] = []
        self.training = self.latest = self.live = None

    def show(self, event):
        kind = event["event"]
        if kind == "phase_start":
            self.phases.append((event["name"], self.clock(), rich.spinner.Spinner("dots")))
        elif kind == "phase_end":
            self.phases = [p for p in self.phases if p[0] != event["name"]]
            if event["outcome"] != "done" or self.training is None:
                self.say(_end_text(event))
        elif kind == "training_start":
            self.training = self.latest = event
        elif kind == "training_end":
            self.training = self.latest = None
            self.say(_end_text(event), "green" if event["outcome"] == "done" and not event["failed"] else "yellow")
        elif kind == "progress":
            self.latest = event
        elif kind == "notice":
            self.say(printable(event["text"]), "yellow")
        self.refresh()

    def say(self, text, style=""):
        self.console.print(rich.text.Text(text, style=style), soft_wrap=True)

    def refresh(self):
        if self.live is None:
            self.live = rich.live.Live(get_renderable=self.block, console=self.console, refresh_per_second=4,
                                       transient=True, redirect_stdout=False, redirect_stderr=False)
            self.live.start()
        self.live.refresh()

    def block(self):
        """The live block as it stands now."""
        rows = rich.table.Table.grid(padding=(0, 1))
        event = self.latest
        if event is not None and "step" in event:
            bar = rich.progress_bar.ProgressBar(total=max(1, event["total"]), completed=event["step"], width=30)
            rate = event["seed_steps_per_second"]
            line = rich.table.Table.grid(padding=(0, 1))
            line.add_row(rich.text.Text(printable(event["name"]), style="bold"), bar,
                         f"{event['step']}/{event['total']}",
                         f"{rate:.4g} seed-steps/s, ETA {clock_text(event['eta_seconds'])}" if rate else "")
            rows.add_row(line)
            rows.add_row(rich.text.Text(_metric_text(event["metrics"]), style="dim"))
            rows.add_row(rich.text.Text("seeds: " + seeds_text(event["num_seeds"], event["failed"]),
                                        style="yellow" if event["failed"] else "green"))
        elif event is not None:
            rows.add_row(rich.text.Text(f"{printable(event['name'])}: first of {event['total']} steps "
                                        f"for {event['num_seeds']} seeds"))
        for name, start, spinner in self.phases:
            spinner.update(text=rich.text.Text(f"{printable(name)} ... {self.clock() - start:.0f} s"))
            rows.add_row(spinner)
        return rows

    def close(self):
        with self.lock:
            live, self.live = self.live, None
        if live is not None:
            with contextlib.suppress(OSError, ValueError):
                live.stop()
