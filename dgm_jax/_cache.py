"""The folder of compiled code and unpacked data, and JAX's cache of compiled programs in it.

Everything lies in `$DGM_JAX_CACHE_DIR`, by default `$XDG_CACHE_HOME/dgm_jax` or `~/.cache/dgm_jax`.
JAX's own settings decide about its cache where they are given: JAX_ENABLE_COMPILATION_CACHE=false
turns it off, JAX_COMPILATION_CACHE_DIR and JAX_COMPILATION_CACHE_MAX_SIZE (bytes) say where it is
and how large it may become. JAX reads them at its import, so nothing here imports JAX.
"""

import hashlib
import os
import pathlib
import platform
import re
import sys
import time

MAX_BYTES = 2 * 2**30


def cache_folder() -> pathlib.Path:
    """Return the folder for what takes long to make and can be made again.

    Returns:
        The folder, which may not exist yet.

    Raises:
        RuntimeError: neither variable is set, and the user has no home folder.
    """
    chosen = os.environ.get("DGM_JAX_CACHE_DIR")
    if chosen:
        return pathlib.Path(chosen)
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "dgm_jax"


def keep_compiled_programs() -> None:
    """Let JAX keep the programs that it compiles, for later processes; called by the commands.

    Programs for a CPU hold its instructions, so each kind of processor has a folder of its own.
    The least recently used programs are dropped beyond `MAX_BYTES`. Nothing happens if JAX is
    imported already, if the user has chosen a folder, or if the folder cannot be written.
    """
    if "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        programs = cache_folder() / "programs" / _processor()
        programs.mkdir(parents=True, exist_ok=True)
        _drop_incomplete(programs)
    except (OSError, RuntimeError):
        return
    if not os.access(programs, os.W_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(programs)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MAX_BYTES))
    # Small programs too: a run of the ring compiles a dozen of less than a second each.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def _drop_incomplete(programs: pathlib.Path) -> None:
    """Delete programs that a killed process has left incomplete.

    JAX writes `KEY-cache`, then `KEY-atime`, the time of its last use. With a program that lacks
    the second, its later writes would fail. One that is a minute old belongs to no living writer.
    """
    for program in programs.glob("*-cache"):
        used = program.with_name(program.name.removesuffix("-cache") + "-atime")
        if not used.exists() and time.time() - program.stat().st_mtime > 60:
            program.unlink(missing_ok=True)


def _processor() -> str:
    """Return a short name for the processor's instruction sets."""
    try:
        listing = pathlib.Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        listing = ""
    pattern = r"^(?:model name|flags|Features)\s*:.*$"
    described = sorted(set(re.findall(pattern, listing, re.MULTILINE))) or [platform.processor()]
    digest = hashlib.sha256("\n".join(described).encode()).hexdigest()
    return f"{platform.machine()}-{digest[:12]}"
