"""Compilation of one C++ file at its first use: the compiler, the cache folder and the lock.

The object is kept in the cache folder (`dgm_jax._cache`), under a name that changes with everything
it was made from. Of several processes
that start at once, one compiles and the others wait; the result is moved into place whole.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import filelock

from dgm_jax._cache import cache_folder

_SECONDS = 300  # limit for the compiler, and for waiting for that of another process


class Unavailable(Exception):
    """Native code cannot be used on this machine; the message is the reason."""


def compiled(
    source: bytes, includes: list[pathlib.Path], library: pathlib.Path, versions: list[str]
) -> pathlib.Path:
    """Compile a shared object, or take it from the cache.

    Args:
        source: text of the C++ file.
        includes: folders of headers.
        library: the library that the object is linked to.
        versions: of everything else that the object depends on; with the source and the compiler
            they determine its name.

    Returns:
        Path of the shared object.

    Raises:
        Unavailable: no compiler, a compiler that fails, or no folder to write to.
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
    """Return the path of a compiler (`$CXX`, or the first usual name) and its version text."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "c++", "clang++"]
    for name in names:
        path = shutil.which(name)
        if path:
            return path, _run([path, "--version"]).stdout
    raise Unavailable(f"no C++ compiler ({', '.join(names)} not found)")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=_SECONDS, stdin=subprocess.DEVNULL
    )


def _compile(
    compiler: str,
    source: bytes,
    includes: list[pathlib.Path],
    library: pathlib.Path,
    target: pathlib.Path,
) -> None:
    """Compile next to the target and move the result into place whole."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        code = pathlib.Path(scratch, "source.cc")
        built = pathlib.Path(scratch, "built.so")
        code.write_bytes(source)
        command = [compiler, "-O2", "-std=c++17", "-shared", "-fPIC", "-w", str(code)]
        command += [*(f"-I{folder}" for folder in includes), str(library), "-o", str(built)]
        try:
            result = _run(command)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{compiler} took longer than {_SECONDS} s") from None
        if result.returncode:
            lines = [line for line in result.stderr.splitlines() if "error" in line.lower()]
            reason = lines[0] if lines else f"exit status {result.returncode}"
            raise Unavailable(f"{compiler} failed: {reason}")
        os.replace(built, target)
