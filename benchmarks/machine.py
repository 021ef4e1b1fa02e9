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
    """The model of the processor, as the system has it, its family, and its widest vectors.

    A model is often no more than a trade name ("AMD EPYC"), which many generations share. Speed
    depends on the generation and on the vectors.
    """
    facts = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    model = _fact(facts, "model name") or platform.processor() or platform.machine()
    family = _fact(facts, "cpu family")
    return described(model, family, _fact(facts, "flags"))


def described(model: str, family: str, flags: str) -> str:
    """ "AMD EPYC, family 26, AVX-512", without what Linux does not say."""
    has = set(flags.split())
    extension = "AVX-512" if "avx512f" in has else "AVX2" if "avx2" in has else ""
    parts = (model, f"family {family}" if family else "", extension)
    return ", ".join(part for part in parts if part)


def _fact(facts: str, name: str) -> str:
    match = re.search(rf"^{name}[ \t]*:[ \t]*(.+)$", facts, re.MULTILINE)
    return match.group(1).strip() if match else ""


def device_key(name: str) -> str:
    """A folder name for results, from the name of an accelerator or a processor."""
    return "_".join(re.findall(r"[a-z0-9]+", name.lower().replace("avx-", "avx")))


def surroundings() -> dict:
    """Versions, devices, processor, threads and settings of this process, which imports JAX."""
    import jax

    from dgm_jax.store import environment

    found = environment.collect_environment()
    kind = jax.devices()[0].device_kind
    name = processor_name() if kind.lower() == "cpu" else kind
    found["device"] = {"key": device_key(name), "name": name}
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
