"""What JAX reads once, at its import: eight devices on the CPU, a cache of compiled programs, and
how hard XLA works; and tidying.

Eight fake devices let the tests of `dgm_jax.parallel` run anywhere. NPROC sizes XLA's pool of
threads: with fewer threads than devices, JAX 0.10 on the CPU deadlocks in collectives.

Two thirds of the suite's time is XLA compiling some thousands of small programs. With
`--quick-compile` it leaves out most optimizations, on jaxlib 0.10.2 also the fusion emitters, which
alone take half of its time, and does not cut a program into parts that threads compile. `make test`
runs so what is not marked `optimized`: tests whose subject is the compiled program itself (its bits
on several devices, its memory, whole runs). Without the option every program is compiled as for a
user, and small programs are cached too, since whole runs are started and resumed many times. Where
compiling is quick, writing small programs to the cache costs more than it saves.

JAX makes a context of MLIR, with all its dialects, for every program. With `--quick-compile` the
programs of a file share one: tests/objectives and tests/flows took 144 s of processor for 177, each
in one process and both at once (two cores of an AMD EPYC, family 25, JAX 0.10.2, 2026-11-30).

On that machine and day the quick part compiled 34,235 programs, 21,803 of them different, and took
28 minutes of processor time: XLA 15, lowering and tracing 4 each at most (traces within traces are
counted twice). Keeping compiled programs from file to file, by their text or in JAX's own caches,
saved 5 % in five folders and took 1 GB more; it was left out.
"""

import functools
import gc
import importlib.metadata
import os
import pathlib
import sys

import pytest

assert "jax" not in sys.modules, "tests/conftest.py must be loaded before jax is imported"

FLAG = "--xla_force_host_platform_device_count"
if FLAG not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}=8".strip()
os.environ.setdefault("NPROC", "32")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / ".jax_cache")
)
QUICK = {  # by version of jaxlib: XLA aborts on a flag that it does not know
    "0.10.2": "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false",
    "0.12.0.1": "--xla_cpu_parallel_codegen_split_count=1",
}


def pytest_addoption(parser):
    """The one option of this suite."""
    parser.addoption("--quick-compile", action="store_true", help="compile with little effort")


def pytest_configure(config):
    """Before any test, and so before JAX, is imported."""
    if config.getoption("--quick-compile"):
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
        os.environ["XLA_FLAGS"] += f" {QUICK.get(importlib.metadata.version('jaxlib'), '')}"
    else:
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def pytest_collection_finish(session):
    """What collecting made stays to the end, so the garbage collector need not look at it again."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def programs_end_with_their_file(request):
    """Thousands of compiled programs would fill gigabytes and slow every later collection."""
    import jax

    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--quick-compile"):
            _share_one_context(patch)
        yield
    jax.clear_caches()
    gc.collect()


def _share_one_context(patch):
    """Such a context has a pool of threads, so MLIR guards it, and threads may compile at once."""
    from jax._src.interpreters import mlir

    make = getattr(mlir, "make_ir_context", None)
    if make is not None:  # of JAX's inner parts: another version may have none
        patch.setattr(mlir, "make_ir_context", functools.cache(make))
