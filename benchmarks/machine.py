"""The machine and the process: which processor, how busy, how much memory.

JAX is imported only by what needs it: the command that starts the processes does without.
"""

import importlib.metadata
import os
import pathlib
import platform
import re
import sys

_CPUINFO = pathlib.Path("/proc/cpuinfo")
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "NPROC", "DGM_JAX_CONVOLUTIONS")
_TIMED = {  # by the names of their modules
    "jax": "jax",
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "pythae": "pythae",
    "vector_quantize_pytorch": "vector-quantize-pytorch",
    "numpyro": "numpyro",
    "flowjax": "flowjax",
    "prdc": "prdc",
}


def status_bytes(name: str) -> int | None:
    """A line of /proc/self/status in bytes: VmRSS now, VmHWM the most so far, RssAnon without
    files; None where the system does not tell."""
    try:
        text = pathlib.Path("/proc/self/status").read_text()
    except OSError:
        return None
    match = re.search(rf"^{name}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


def load_average() -> list[float] | None:
    """Of the last 1, 5 and 15 minutes."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def processor_name() -> str:
    """The model of the processor, as the system has it."""
    if _CPUINFO.exists():
        match = re.search(r"^model name\s*:\s*(.+)$", _CPUINFO.read_text(), re.MULTILINE)
        if match:
            return match.group(1).strip()
    return platform.processor() or platform.machine()


def vector_extension() -> str:
    """ "avx512" or "avx2" where Linux says so, else ""; speed depends on it more than on names."""
    flags = set(_CPUINFO.read_text().split()) if _CPUINFO.exists() else set()
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if "avx2" in flags else ""


def device_key(kind: str, processor: str, extension: str) -> str:
    """A folder name for results: the accelerator's kind, or of a CPU its name with its vectors."""
    text = f"{processor} {extension}" if kind.lower() == "cpu" else kind
    return "_".join(re.findall(r"[a-z0-9]+", text.lower()))


def surroundings() -> dict:
    """Versions, devices, processor, threads and settings of this process, which imports JAX."""
    import jax

    from dgm_jax.store import environment

    found = environment.collect_environment()
    kind = jax.devices()[0].device_kind
    key = device_key(kind, processor_name(), vector_extension())
    found["device"] = {"key": key, "name": processor_name() if kind.lower() == "cpu" else kind}
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found["threads"] = {
        "usable_cpus": usable,
        **{name: os.environ.get(name) for name in _VARIABLES},
    }
    return found


def loaded_versions() -> dict[str, str]:
    """Versions of the packages that this process has imported, of those that a side may time."""
    return {
        module: importlib.metadata.version(package)
        for module, package in _TIMED.items()
        if module in sys.modules
    }
