"""Faults on purpose, in numbers: what was tried, and what survived.

    python tests/faults                        # all of them, in full; `make test-faults` does this
    python tests/faults kills disks            # some of them
    python tests/faults --short                # a few of most, as in `make test`
    python tests/faults kills --count 5 --seed 7

kills       SIGKILL at random moments and at chosen ones (a checkpoint, a picture, the summary is
            being written), again while the run resumes. Survived: `--resume` ends with the
            undisturbed run's parameters and rows, each step once for each arm.
damage      Bits flipped in a checkpoint's files, and files cut short. Survived: an older checkpoint
            is taken, or all are refused, or the arrays have the very bits that were saved.
foreign     Checkpoints of other runs, arms and steps, renamed, swapped and linked. Survived: exit
            code 2 and a sentence.
disks       File systems of 16 KiB to 2 MiB. Survived: exit code 2 with at most five lines, and once
            there is room `--resume` ends with the undisturbed run's parameters and rows.
starts      Many starts at once in one folder. Survived: one wins, and each of the others ends with
            2 and names the winner.
signals     SIGTERM, Ctrl-C, two of them, at random and chosen moments. Survived: exit code 143 or
            130 (0 where the run was done), no traceback, and `--resume` as above.
weights     Files of parameters that are damaged or hostile. Survived: an error of the library's own
            that is a sentence; nothing was run, and less than 1 GB of memory used.
readers     Hostile image files, npz files, IDX files. Survived: they are read, or refused by an
            error of the library's own; nothing was run, and less than 1 GB of memory used.
edited      A run folder's files edited, lost, replaced, also during the run. Survived: the run ends
            with the undisturbed parameters, or is refused with 2 and a sentence, whichever is due.
pages       60 hostile texts, numbers and depths in run folders, whose reports a real browser opens.
            Survived: no script ran, no request left; and without escaping both are noticed.
settings    Command lines with one wrong setting, over all experiments. Survived: exit code 2 and a
            sentence, nothing compiled or written; 95 % of them name the setting that is wrong.
processes   SIGKILL of one of two or four processes of a run. Survived: the others end within 30 s
            with 7 and a sentence, and `--resume` in the same number or another as above.

Each line has a fault's name, how many were tried and how many survived; those that did not follow
in full. Exit code: 0 all survived, 1 some did not, 2 a name or number that cannot be. Choices come
from `--seed`; what a moment by the clock hits depends on the machine as well.

Runs are forked from this process, which has imported JAX but started no device, so that each costs
its work and not its imports (`forked.py`). They share a cache of compiled programs in a temporary
folder, which an undisturbed run of each has filled.
"""

import argparse
import importlib
import os
import pathlib
import random
import sys
import tempfile
import time
import traceback
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parents[2]


class Fault(NamedTuple):
    """A module with `trial(count, rng, room)`, and how many in full and in short (0: by name
    only)."""

    module: str
    full: int
    short: int


FAULTS = {  # of weights and edits, in full all that there are: more than 60, more than 90
    "kills": Fault("killed", 50, 4),
    "damage": Fault("damaged", 1060, 60),
    "foreign": Fault("foreign", 20, 5),
    "disks": Fault("disks", 20, 3),
    "starts": Fault("starts", 20, 4),
    "signals": Fault("signalled", 20, 4),
    "weights": Fault("weights", 1000, 10),
    "edited": Fault("edited", 1000, 8),
    "readers": Fault("readers", 300, 0),  # a few of them are in tests/data/test_hostile_files.py
    "pages": Fault("pages", 60, 3),
    "settings": Fault("wrong_settings", 300, 6),
    "processes": Fault("of_several", 4, 0),
}


def main() -> int:
    asked = _parsed()
    _prepare(asked.short)
    survived = True
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(pathlib.Path(folder, "cache"))
        from runs import Room

        room = Room(pathlib.Path(folder).resolve(), asked.short)
        every = [name for name, fault in FAULTS.items() if fault.short or not asked.short]
        for name in asked.names or every:
            fault = FAULTS[name]
            count = asked.count or (asked.short and fault.short) or fault.full
            survived = _tried(name, fault.module, count, asked, room) and survived
        _require_no_devices()
    return 0 if survived else 1


def _parsed():
    parser = argparse.ArgumentParser(
        prog="python tests/faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--count", type=int, help="of each, instead of the usual number")
    parser.add_argument("--verbose", action="store_true", help="a line for each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="a few of each, on small runs only")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in FAULTS]
    if unknown:
        parser.error(f"no fault {unknown[0]!r}; there are {', '.join(FAULTS)}")
    if asked.count is not None and asked.count < 1:
        parser.error(f"--count must be at least 1, got {asked.count}")
    return asked


def _prepare(short: bool) -> None:
    """What JAX reads at its import, and where this checkout's modules are."""
    for name in ("XLA_FLAGS", "NPROC", "JAX_COMPILATION_CACHE_DIR"):
        os.environ.pop(name, None)
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    if short:
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]


def _tried(name: str, module: str, count: int, asked, room) -> bool:
    """Tries one fault, prints its line, and says whether all survived."""
    from runs import Case, Skipped

    start = time.monotonic()
    rng = random.Random(f"{asked.seed} {name}")
    cases = []
    try:
        for case in importlib.import_module(module).trial(count, rng, room):
            cases.append(case)
            if asked.verbose:
                print(f"  {'FAILED' if case.problem else 'ok'} {case.name}", flush=True)
    except Skipped as reason:
        print(f"{name}: skipped, {reason}", flush=True)
        return True
    except Exception:
        cases.append(Case("the harness itself", traceback.format_exc(), 0))
    failed = [case for case in cases if case.problem is not None]
    tries, lost = (sum(case.tries for case in part) for part in (cases, failed))
    seconds = time.monotonic() - start
    print(f"{name}: {tries} tried, {tries - lost} survived ({seconds:.0f} s)", flush=True)
    for case in failed:
        print(f"  FAILED {case.name}\n    {case.problem}".replace("\n", "\n    "), flush=True)
    return not failed


def _require_no_devices() -> None:
    """A fork after JAX has started its devices would not be like a run."""
    from jax._src import xla_bridge

    assert not xla_bridge._backends, "the harness has started JAX's devices"


if __name__ == "__main__":
    sys.exit(main())
