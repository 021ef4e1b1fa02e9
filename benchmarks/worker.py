"""The process of one side: commands come in over a pipe, an answer goes out for each.

    {"do": "prepare", "name": ..., "target": ..., "options": {...}}  -> stages, units of a call
    {"do": "sample", "name": ..., "calls": 3}                        -> seconds of so many calls
    {"do": "check", "target": ..., "options": {...}}                 -> what the check returns
    {"do": "memory"}                                                 -> bytes of this process
    {"do": "describe"}                                               -> machine and versions

What libraries print goes to standard error, so that nothing but answers is in the pipe.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from benchmarks import contract, machine
from benchmarks.stages import Stages

_MEMORY = {"resident": "VmRSS", "anonymous": "RssAnon", "peak": "VmHWM"}


def blocked(result: object) -> object:
    """The result, once all of it is there."""
    if "jax" in sys.modules:
        import jax

        jax.block_until_ready(result)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


class Session:
    """What one process holds.

    Args:
        clock: seconds; tests count their own.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._cases: dict[str, contract.Case] = {}
        self._resident: int | None = None

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """Carries out one command; an error becomes an answer with "error"."""
        arguments = {name: value for name, value in command.items() if name != "do"}
        try:
            return getattr(self, f"_{command['do']}")(**arguments)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            return {"error": f"{type(error).__name__}: {error}"}

    def _timed(self, function: Callable[[], Any]) -> tuple[Any, float]:
        start = self._clock()
        result = blocked(function())
        return result, self._clock() - start

    def _prepare(self, name: str, target: str, options: dict[str, Any]) -> dict[str, Any]:
        function, imported = self._timed(lambda: contract.function_of(target))
        self._resident = machine.status_bytes("VmRSS")
        with Stages(self._clock) as stages:
            case, prepared = self._timed(lambda: function(**options))
            _, first = self._timed(case.call)
        _, warm = self._timed(case.call)
        self._cases[name] = case
        seconds = {"import": imported, "prepare": prepared, **stages.seconds()}
        return {"count": case.count, "stages": {**seconds, "first": first, "warm": warm}}

    def _sample(self, name: str, calls: int) -> dict[str, float]:
        call, processor = self._cases[name].call, time.process_time()

        def repeated():
            for _ in range(calls):
                blocked(call())

        _, seconds = self._timed(repeated)
        return {"seconds": seconds, "processor_seconds": time.process_time() - processor}

    def _check(self, target: str, options: dict[str, Any]) -> dict[str, Any]:
        return {"facts": contract.function_of(target)(**options)}

    def _memory(self) -> dict[str, Any]:
        now = {name: machine.status_bytes(line) for name, line in _MEMORY.items()}
        return {
            "memory": {"imported": self._resident, **now},
            "versions": machine.loaded_versions(),
        }

    def _describe(self) -> dict[str, Any]:
        return machine.surroundings()


def main() -> None:
    """Answers until the pipe is closed."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = Session()
    for line in sys.stdin:
        print(json.dumps(session.answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
