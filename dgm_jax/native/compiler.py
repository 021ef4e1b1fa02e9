"""One C++ file compiled at its first use and kept: the compiler, the cache folder and the lock.

The object lies in `$DGM_JAX_CACHE_DIR`, by default `$XDG_CACHE_HOME/dgm_jax` or `~/.cache/dgm_jax`,
under a name that changes with all that it was made from. Of several processes that start at once
one compiles and the others wait; the result is moved into place whole.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import filelock

_SECONDS = 300  # for the compiler, and for the wait on another process's


class Unavailable(Exception):
    """Why native code cannot be used here."""


def cache_folder() -> pathlib.Path:
    """Where compiled code is kept."""
    chosen = os.environ.get("DGM_JAX_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "dgm_jax"


def compiled(
    source: bytes, includes: list[pathlib.Path], library: pathlib.Path, versions: list[str]
) -> pathlib.Path:
    """A shared object made from `source` and linked to `library`, from the cache or compiled now.

    versions: of what else the object depends on; with the source and the compiler they make its
        name.
    Raises Unavailable with the reason.
    """
    command, version = _compiler()
    described = "\n".join([version, *versions]).encode()
    key = hashlib.sha256(source + described).hexdigest()[:16]
    try:
        folder = cache_folder()
    except RuntimeError as error:  # no home folder
        raise Unavailable(f"compiled code has no place: {error}") from error
    target = folder / f"onednn-{key}.so"
    try:
        if target.exists():
            return target
        folder.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder / f"onednn-{key}.lock", timeout=_SECONDS):
            if not target.exists():
                _compile(command, source, includes, library, target)
    except filelock.Timeout:
        raise Unavailable(f"another process has been compiling {target} for too long") from None
    except OSError as error:
        raise Unavailable(f"compiled code cannot be kept in {folder} ({error})") from error
    return target


def _compiler() -> tuple[str, str]:
    """(command, what it says of its version): `$CXX`, else the first of the usual names."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    for name in names:
        path = shutil.which(name)
        if path:
            answer = _run([path, "--version"])
            return path, answer.stdout
    raise Unavailable(f"no C++ compiler ({', '.join(names)} not found)")


def _run(command):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
    )


def _compile(compiler, source, includes, library, target):
    """Compiles beside the target and moves the result into place whole."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        code, built = pathlib.Path(scratch, "source.cc"), pathlib.Path(scratch, "built.so")
        code.write_bytes(source)
        command = [compiler, "-O2", "-std=c++17", "-shared", "-fPIC", "-w", str(code)]
        command += [*(f"-I{folder}" for folder in includes), str(library), "-o", str(built)]
        try:
            done = _run(command)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{compiler} took longer than {_SECONDS} s") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
            reason = lines[0] if lines else f"exit status {done.returncode}"
            raise Unavailable(f"{compiler} failed: {reason}")
        os.replace(built, target)
