"""Native code that is compiled at its first use: once, whole, or refused with the reason."""

import os
import pathlib
import shutil
import stat
import subprocess
import sys

import pytest

from dgm_jax.native import compiler

SOURCE = b'extern "C" int answer() { return 42; }\n'
needs_a_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ here")


def script(path: pathlib.Path, text: str) -> pathlib.Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def library(tmp_path):
    """Something to link to: an empty shared object."""
    path = tmp_path / "libempty.so"
    command = ["g++", "-shared", "-x", "c++", "-", "-o", str(path)]
    subprocess.run(command, input=b"", check=True)
    return path


@needs_a_compiler
def test_an_object_is_made_once_and_again_for_other_versions(tmp_path, monkeypatch, library):
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(tmp_path / "new" / "cache"))
    monkeypatch.delenv("CXX", raising=False)
    made = compiler.compiled(SOURCE, [], library, ["1"])
    before = made.stat().st_mtime_ns
    assert made.parent == tmp_path / "new" / "cache"
    assert compiler.compiled(SOURCE, [], library, ["1"]) == made
    assert made.stat().st_mtime_ns == before
    others = {compiler.compiled(SOURCE, [], library, ["2"])}
    others.add(compiler.compiled(SOURCE + b"// another", [], library, ["1"]))
    assert len(others | {made}) == 3
    assert {path.suffix for path in made.parent.iterdir()} <= {".so", ".lock"}, "leftovers"


@needs_a_compiler
def test_of_processes_that_start_at_once_one_compiles(tmp_path, library):
    count = tmp_path / "count"
    slow = script(
        tmp_path / "slow++",
        f'case "$*" in *-shared*) echo x >> {count}; sleep 1;; esac\nexec g++ "$@"',
    )
    code = (
        "import ctypes, pathlib; from dgm_jax.native import compiler; path = compiler.compiled("
        f"{SOURCE!r}, [], pathlib.Path({str(library)!r}), []); print(ctypes.CDLL(path).answer())"
    )
    cache = str(tmp_path / "cache")
    environment = {**os.environ, "DGM_JAX_CACHE_DIR": cache, "CXX": str(slow)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in started] == [b"42"] * 3
    assert count.read_text().splitlines() == ["x"]


@pytest.mark.parametrize(
    "text,words",
    [
        ("echo 'a.cc:1: error: no such thing' >&2; exit 1", "failed: a.cc:1: error: no such thing"),
        ("exit 3", "exit status 3"),
    ],
)
def test_a_build_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch, text, words):
    broken = script(tmp_path / "broken++", f'test "$1" = --version && exit 0\n{text}')
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(compiler.Unavailable, match=words):
        compiler.compiled(SOURCE, [], tmp_path / "lib.so", [])
    assert not [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"]


def no_home():
    raise RuntimeError("there is no home")


def test_no_compiler_and_no_place_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(compiler.Unavailable, match=r"no-such-compiler not found"):
        compiler.compiled(SOURCE, [], tmp_path / "lib.so", [])
    working = script(tmp_path / "fine++", "exit 0")
    monkeypatch.setenv("CXX", str(working))
    with monkeypatch.context() as nowhere:
        nowhere.delenv("DGM_JAX_CACHE_DIR", raising=False)
        nowhere.delenv("XDG_CACHE_HOME", raising=False)
        nowhere.setattr(pathlib.Path, "home", no_home)
        with pytest.raises(compiler.Unavailable, match="no place: there is no home"):
            compiler.compiled(SOURCE, [], tmp_path / "lib.so", [])
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("DGM_JAX_CACHE_DIR", str(file / "cache"))
    with pytest.raises(compiler.Unavailable, match="cannot be kept in .*cache"):
        compiler.compiled(SOURCE, [], tmp_path / "lib.so", [])
