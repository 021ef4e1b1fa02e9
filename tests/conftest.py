"""What JAX reads once, at its import: eight devices on the CPU, and a cache of compiled programs;
how hard XLA works on a file's programs; and tidying.

Eight fake devices let the tests of `dgm_jax.parallel` run anywhere. NPROC sizes XLA's pool of
threads: with fewer threads than devices, JAX 0.10 on the CPU deadlocks in collectives.

Two thirds of the suite's time is XLA compiling some thousands of small programs. So programs are
compiled with most of XLA's and LLVM's optimizations off, but for files marked `optimized`, whose
subject is the compiled program itself (its bits on several devices, its memory, whole runs). Every
small program is cached too, since most of them occur in several files. `make test-newest` runs the
same tests on fully optimized programs: JAX_DISABLE_MOST_OPTIMIZATIONS, where it is set, decides.
"""

import gc
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
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
EFFORT = "JAX_DISABLE_MOST_OPTIMIZATIONS"


def pytest_collection_finish(session):
    """What collecting made stays to the end, so the garbage collector need not look at it again."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def programs_of_a_file(request):
    """Sets XLA's effort, and drops the programs at the end: thousands of them would fill gigabytes
    and slow every later collection."""
    import jax

    if EFFORT not in os.environ:
        optimized = request.node.get_closest_marker("optimized") is not None
        jax.config.update("jax_disable_most_optimizations", not optimized)
    yield
    jax.clear_caches()
    gc.collect()
