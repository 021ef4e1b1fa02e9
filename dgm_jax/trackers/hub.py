"""All trackers of one run."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence

from dgm_jax.trackers.contract import Picture, Record, TrackedRun, Tracker
from dgm_jax.trackers.worker import Message, Worker


class Trackers:
    """Hands everything to each tracker; returns at once.

    Trackers begin with the first record, so a run that fails before leaves no trace in them.

    Args:
        makers: {name: function that returns a tracker}.
        run: what is tracked.
        history: returns all records of the run so far, in order. A tracker gets those that it does
            not have: it may be new to a run that continues, or have missed the last ones.
        notify: shows a sentence; called from several threads.
    """

    def __init__(
        self,
        makers: Mapping[str, Callable[[], Tracker]],
        run: TrackedRun,
        history: Callable[[], Sequence[Record]],
        notify: Callable[[str], None],
    ) -> None:
        self._makers = makers
        self._run = run
        self._history = history
        self._notify = notify
        self._workers: list[Worker] | None = None
        self._pictures: list[Picture] = []

    @property
    def unfinished(self) -> bool:
        """Whether a tracker was dropped; its thread may hang, or its library at the exit."""
        return any(worker.dropped for worker in self._workers or ())

    def picture(self, picture: Picture) -> None:
        """Log a plot, together with the next record.

        Args:
            picture: the plot.
        """
        if self._makers:
            self._pictures.append(picture)

    def log(self, record: Record) -> None:
        """Log the values of a step.

        Args:
            record: steps and values; it is part of `history` already.
        """
        if not self._makers:
            return
        self._begin(before=record.total_step)
        logged = functools.partial(_log, record=record)
        self._send([*self._taken_pictures(), Message(logged, record.total_step)])

    def end(self, status: str, seconds: float, summary: Mapping[str, float] | None = None) -> None:
        """End the run in all trackers; a second call only waits.

        Args:
            status: "finished", "failed" or "stopped".
            seconds: that may pass until all trackers have ended; the others are dropped.
            summary: {"ARM/METRIC": mean over seeds} of a run that came to its end.
        """
        if summary is not None and self._makers:
            self._begin(before=None)
        if self._makers:
            last = functools.partial(_end, status=status, summary=summary or {})
            self._send([*self._taken_pictures(), Message(last)])
            self._send(None)
            self._makers = {}
        deadline = time.monotonic() + seconds
        for worker in self._workers or ():
            worker.wait(deadline - time.monotonic())

    def _begin(self, before: int | None) -> None:
        """Start the trackers, if they have not started, with the records before a total step."""
        if self._workers is not None:
            return
        self._workers = [
            Worker(name, make, self._run, self._notify) for name, make in self._makers.items()
        ]
        self._send(
            [
                Message(functools.partial(_log, record=record), record.total_step)
                for record in self._history()
                if before is None or record.total_step < before
            ]
        )

    def _taken_pictures(self) -> list[Message]:
        messages = [
            Message(functools.partial(_picture, picture=picture), picture.total_step)
            for picture in self._pictures
        ]
        self._pictures = []
        return messages

    def _send(self, messages: Sequence[Message] | None) -> None:
        for worker in self._workers or ():
            worker.send(messages)


def _log(tracker: Tracker, record: Record) -> None:
    tracker.log(record)


def _picture(tracker: Tracker, picture: Picture) -> None:
    tracker.picture(picture)


def _end(tracker: Tracker, status: str, summary: Mapping[str, float]) -> None:
    tracker.end(status, summary)
