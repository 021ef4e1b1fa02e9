"""Sides of benchmarks whose seconds are known, since a clock of their own counts them."""

import itertools

from benchmarks import contract, worker


class Clock:
    """Seconds that pass only where a side sleeps."""

    now = 0.0

    def __call__(self):
        return self.now


CLOCK = Clock()
CALLS = []  # names of the sides that were called, in order


def sleep(seconds, count=1.0, name=""):
    """A call takes so many seconds of the clock."""

    def call():
        CALLS.append(name)
        CLOCK.now += seconds

    return contract.Case(call, count)


def sleeps(series, count=1.0):
    """Calls take the seconds of the series, over and over."""
    turns = itertools.cycle(series)

    def call():
        CLOCK.now += next(turns)

    return contract.Case(call, count)


def product(size, flops_per_second):
    """A product of square matrices on a machine of this speed; the count is one product."""
    return sleep(2.0 * size**3 / flops_per_second)


def broken():
    """A side that cannot be prepared."""
    raise ValueError("no such peer")


def unequal():
    """A check that fails."""
    contract.require_close({"loss": 0.5}, 1e-5)


def without_peer():
    """A check whose peer is not installed."""
    raise ModuleNotFoundError("No module named 'torch'")


def equal(calls=False):
    """A check that passes."""
    if calls:
        CALLS.append("check")
    return {"loss": contract.require_close({"loss": 0.0}, 1e-5)}


class Process:
    """A session in this process, on the clock above."""

    environment = {"versions": {"jaxlib": "1.2.3"}, "device": {"key": "abacus", "name": "Abacus"}}

    def __init__(self, environment):
        self.variables, self.closed = dict(environment), False
        self._session = worker.Session(CLOCK)

    def ask(self, do, **arguments):
        from benchmarks.processes import WorkerError

        if do == "describe":
            return dict(self.environment)
        answer = self._session.answer({"do": do, **arguments})
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def close(self):
        self.closed = True
