"""Reads hostile files in a process of its own and prints what came of it, as one JSON object.

    python tests/helpers/read_hostile.py --seed 0 --count 300 --folder EMPTY_FOLDER

loaded, refused: how many, by reader. raw: names of the sets that raised anything but a `DgmError`,
with what they raised. ran: events that a reader must not cause (programs, unpickling, connections,
files opened for writing). slowest_s: of one set. peak_bytes: the largest resident memory of the
process, JAX and all.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import hostile_files

from dgm_jax import data
from dgm_jax.core import DgmError

LIMIT_S = 60
FORBIDDEN = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pickle.find_class",
    "socket.connect",
    "ctypes.dlopen",
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Watch:
    """Notes what readers must not do, while it is on."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if not self.on:
            return
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if writes or event in FORBIDDEN:
            self.seen.append(f"{event} {arguments!r}"[:200])


class TooSlow(BaseException):
    """No `Exception`, which a reader might take for a fault of the file."""


def too_slow(number, frame):
    raise TooSlow(f"longer than {LIMIT_S} s")


def read_all(names, watch) -> dict:
    counts, raw, slowest = collections.defaultdict(collections.Counter), [], 0.0
    signal.signal(signal.SIGALRM, too_slow)
    for name in names:
        reader, start = name.partition(":")[0], time.monotonic()
        signal.alarm(LIMIT_S)
        watch.on = True
        try:
            data.load(name)
            outcome = "loaded"
        except DgmError:
            outcome = "refused"
        except BaseException as error:  # what the harness is for
            outcome = "raw"
            raw.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        watch.on = False
        signal.alarm(0)
        counts[outcome][reader] += 1
        slowest = max(slowest, time.monotonic() - start)
    return {
        "loaded": dict(counts["loaded"]),
        "refused": dict(counts["refused"]),
        "raw": raw,
        "ran": watch.seen,
        "slowest_s": round(slowest, 2),
    }


def warm_up(folder: pathlib.Path) -> None:
    """Whatever is imported at the first use is, before the watch is on."""
    import numpy as np

    rng = np.random.default_rng(0)
    for ending in hostile_files.FORMATS:
        (folder / ending).mkdir(parents=True)
        for i in range(5):
            content = hostile_files.picture(rng, ending)
            (folder / ending / f"{i}.{ending}").write_bytes(content)
        data.load(f"folder:{folder / ending}?image_size=8")


def read_apart(folder: pathlib.Path, count: int, seed: int = 0) -> tuple[int, dict]:
    """(exit code, report) of `count` hostile files, read by a process of its own. A program that a
    reader might start for PostScript is there, and would let the canary out."""
    programs = folder / "programs"
    programs.mkdir(parents=True)
    ghostscript = programs / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {folder / 'sets' / 'canary'}\necho 10.0\n")
    ghostscript.chmod(0o755)
    here = pathlib.Path(__file__).resolve().parent
    more = {
        "PYTHONPATH": f"{here.parents[1]}{os.pathsep}{here}",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, __file__, "--folder", folder, "--count", str(count), "--seed", str(seed)],
        env=os.environ | more,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=3600,
    )
    assert done.stdout, done.stderr[-2000:]
    return done.returncode, json.loads(done.stdout)


def peak_bytes() -> int:
    """The largest resident memory of this program; that of `getrusage` counts also what the
    process held that started it."""
    status = pathlib.Path("/proc/self/status").read_text("ascii", "replace")
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def written(folder: pathlib.Path, seed: int, count: int) -> list[str]:
    """Names of the sets, written by another process, whose memory is its own."""
    command = [sys.executable, hostile_files.__file__, folder, str(seed), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True)
    return json.loads(done.stdout)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    options = parser.parse_args()
    warm_up(options.folder / "good")
    names = written(options.folder / "sets", options.seed, options.count)
    before = peak_bytes()
    found = read_all(names, Watch())
    canary = (options.folder / "sets" / "canary").exists()
    found |= {"canary": canary, "bytes_before": before, "peak_bytes": peak_bytes()}
    print(json.dumps(found, indent=1))
    return int(bool(found["raw"] or found["ran"] or canary))


if __name__ == "__main__":
    raise SystemExit(main())
