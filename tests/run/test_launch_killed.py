"""The ring GAN in a process of its own: run, killed, terminated, resumed."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.optimized

ROOT = pathlib.Path(__file__).parents[2]
FILES = {
    "config.json",
    "environment.json",
    "metrics.jsonl",
    "summary.json",
    "report.html",
    "checkpoints",
    "figures",
}
SUMMARY = {
    "experiment",
    "config",
    "num_seeds",
    "num_steps",
    "wall_seconds",
    "compile_seconds",
    "seed_steps_per_second",
    "failed_seeds",
    "metrics",
    "reference",
}


def summary_of(out):
    return json.loads((out / "summary.json").read_text())


def rows_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def command(out, *flags, num_steps=80):
    small = [
        "--num_seeds",
        "2",
        "--log_every",
        "10",
        "--num_eval",
        "200",
        "--batch_size",
        "16",
        "--progress",
        "lines",
    ]
    rest = ["--num_steps", str(num_steps), "--out", str(out), *flags]
    return [sys.executable, "-m", "experiments.gan_ring", *small, *rest]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Settings of a process on one device, with a compilation cache that no kill can hurt: it is
    full already."""
    cache = tmp_path_factory.mktemp("cache")
    drop = ("XLA_FLAGS", "NPROC")
    return {k: v for k, v in os.environ.items() if k not in drop} | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


@pytest.fixture(scope="module")
def ring(tmp_path_factory, alone):
    """An undisturbed run of the ring GAN."""
    out = tmp_path_factory.mktemp("ring") / "run"
    done = subprocess.run(
        command(out), cwd=ROOT, env=alone, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return out, done


def test_gan_ring_from_the_command_line(ring):
    out, done = ring
    assert FILES <= {path.name for path in out.iterdir()}
    summary = summary_of(out)
    assert SUMMARY <= set(summary) and summary["experiment"] == "gan_ring"
    assert {"modes", "valid", "mode_tv", "generator.loss", "discriminator.loss"} <= set(
        summary["metrics"]
    )
    assert [row["step"] for row in rows_of(out)] == list(range(10, 81, 10))
    assert any((out / "figures").glob("*.png"))
    report = (out / "report.html").read_text()
    assert "http://" not in report.replace("http://www.w3.org", "") and 'src="http' not in report
    assert "modes" in done.stdout


def start_run(out, alone, *flags, num_steps=80):
    return subprocess.Popen(
        command(out, *flags, num_steps=num_steps),
        cwd=ROOT,
        env=alone,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(process, condition, patience=240):
    end = time.monotonic() + patience
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)


def count_rows(out):
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("num_kills", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_a_killed_run_ends_with_the_same_bits(ring, alone, tmp_path, num_kills):
    """SIGKILL while it starts, then while it trains, draws and saves; then --resume until it is
    done."""
    out, rng = tmp_path / "run", random.Random()
    moments = []
    for kill in range(num_kills):
        process = start_run(out, alone, "--resume")
        rows = count_rows(out)
        if kill == 0:
            wait_until(process, (out / "config.json").exists)
        else:
            wait_until(process, lambda rows=rows: count_rows(out) > rows)
        pause = rng.uniform(0.0, 0.4)
        time.sleep(pause)
        process.kill()
        process.wait()
        process.stderr.close()
        moments.append((rows, round(pause, 3)))
    final = start_run(out, alone, "--resume")
    _, said = final.communicate(timeout=300)
    assert final.returncode == 0, (moments, said)
    assert rows_of(out) == rows_of(ring[0]), moments
    assert summary_of(out)["final_params_sha256"] == summary_of(ring[0])["final_params_sha256"], (
        moments
    )
    environment = json.loads((out / "environment.json").read_text())
    assert len(environment["resumed"]) >= num_kills - 1


def test_sigterm_from_outside(ring, alone, tmp_path):
    out = tmp_path / "run"
    process = start_run(out, alone, num_steps=100_000)
    wait_until(process, lambda: count_rows(out) >= 1)
    process.terminate()
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert f"dgm-jax resume {out}" in said and "Traceback" not in said
    assert count_rows(out) >= 1 and any((out / "checkpoints" / "vanilla").iterdir())
