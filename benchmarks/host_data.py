"""Peak of anonymous memory, and the time spent waiting for data, of runs with data on the host.

    python tools/make_images.py FOLDER --gigabytes 8
    python -m benchmarks.host_data vqvae_images --data idx:FOLDER --data_on host --num_seeds 1 ...

The flags are those of the experiment. The run is made in a process of its own, whose RssAnon
(/proc/PID/status) is read four times a second: pages of mapped files can be dropped at any time and
do not count. Printed are the peak, the size of the training data, the hash of what was trained and
what summary.json says about the feed.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

from dgm_jax.terminal.texts import in_units


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory that a process holds; 0 after its end."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return max((int(line.split()[1]) * 1024 for line in lines if "RssAnon" in line), default=0)


def peak_of(command: list[str]) -> tuple[int, int]:
    """Peak of anonymous memory of a command, in bytes, and its exit code."""
    process = subprocess.Popen(command)
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        time.sleep(0.25)
    return peak, process.returncode


def measured(name: str, flags: list[str]) -> dict:
    """A run's peak, and what its summary says."""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "run")
        command = [sys.executable, "-m", "dgm_jax.cli", "run", name, *flags, "--out", str(out)]
        peak, code = peak_of(command)
        if code:
            raise SystemExit(code)
        summary = json.loads((out / "summary.json").read_text())
    return {
        "peak_anonymous": in_units(peak),
        "peak_anonymous_bytes": peak,
        "dataset": summary["dataset"]["identity"],
        "final_model_sha256": summary["final_model_sha256"],
        "wall_seconds": summary["wall_seconds"],
        "seed_steps_per_second": summary["seed_steps_per_second"],
        "feeding": summary.get("feeding"),
    }


if __name__ == "__main__":
    name, *flags = sys.argv[1:]
    print(json.dumps(measured(name, flags), indent=1))
