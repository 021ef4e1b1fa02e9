"""What JAX reads once, at its import: eight devices on the CPU, and a cache of compiled programs;
and tidying.

Eight fake devices let the tests of `dgm_jax.parallel` run anywhere. NPROC sizes XLA's pool of
threads: with fewer threads than devices, JAX 0.10 on the CPU deadlocks in collectives.
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
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def pytest_collection_finish(session):
    """What collecting made stays to the end, so the garbage collector need not look at it again."""
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def programs_end_with_their_file():
    """Thousands of compiled programs would fill gigabytes and slow every later collection."""
    yield
    import jax

    jax.clear_caches()
    gc.collect()
