"""Compiled programs that the commands keep: where, which, and that a second run uses them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from dgm_jax import _cache

ROOT = pathlib.Path(__file__).parents[1]
RUN = ["run", "gan_ring", "--num_seeds", "2", "--num_steps", "4", "--log_every", "2"]
OURS = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_COMPILATION_CACHE_MAX_SIZE",
    "JAX_ENABLE_COMPILATION_CACHE",
)


def command(folder, out, **environment):
    """Runs the ring; returns the hash of its parameters and what it said."""
    inherited = {name: value for name, value in os.environ.items() if name not in OURS}
    ended = subprocess.run(
        [sys.executable, "-m", "dgm_jax", *RUN, "--out", str(out), "--progress", "lines"],
        env={**inherited, "PYTHONPATH": str(ROOT), "DGM_JAX_CACHE_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    summary = json.loads((out / "summary.json").read_text())
    return summary["final_params_sha256"], ended.stderr


def programs(folder):
    """{name of a kept program: when it was written}."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("programs/*/*-cache")}


@pytest.mark.optimized
def test_a_second_run_compiles_nothing_and_has_the_same_bits(tmp_path):
    """Also after a kill in the middle of a write, of which an old, cut program is left."""
    first, _ = command(tmp_path / "cache", tmp_path / "a")
    kept = programs(tmp_path / "cache")
    assert len(kept) >= 3  # initialization, steps, evaluation
    cut = next((tmp_path / "cache").glob("programs/*/*advance*-cache"))
    cut.write_bytes(cut.read_bytes()[:1000])
    cut.with_name(cut.name.replace("-cache", "-atime")).unlink()
    os.utime(cut, (0, 0))
    second, said = command(tmp_path / "cache", tmp_path / "b")
    assert first == second
    assert "cache" not in said
    again = programs(tmp_path / "cache")
    assert again.keys() == kept.keys()
    assert {name for name in kept if again[name] != kept[name]} == {cut.name}


def test_the_switches_of_jax_decide(monkeypatch, tmp_path):
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(tmp_path))
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "chosen")
    _cache.keep_compiled_programs()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "chosen"
    assert not any(tmp_path.iterdir())
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "1000")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "3")
    _cache.keep_compiled_programs()
    assert pathlib.Path(os.environ["JAX_COMPILATION_CACHE_DIR"]).parent == tmp_path / "programs"
    assert os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] == "1000"
    assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "3"


def test_without_a_folder_to_write_to_nothing_is_kept(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(file / "cache"))
    _cache.keep_compiled_programs()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_the_folder_follows_the_environment(monkeypatch):
    monkeypatch.delenv("DGM_JAX_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert _cache.cache_folder() == pathlib.Path("/somewhere/dgm_jax")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert _cache.cache_folder() == pathlib.Path.home() / ".cache" / "dgm_jax"
