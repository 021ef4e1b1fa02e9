"""What a run ran on: versions, devices, source commit, command.

No environment variables, no host name, no secrets.
"""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import shlex
import subprocess
import sys
from typing import Any

import jax

import dgm_jax

PACKAGES = (
    "dgm_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "orbax-checkpoint",
    "onednn-cpu-gomp",
)
JAX_SETTINGS = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_disable_jit",
    "jax_debug_nans",
)
_SECRET = re.compile(r"(?i)(token|secret|passw(or)?d|api[-_]?key|credential)")


def utc_now() -> str:
    """The time in UTC as ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of packages that affect numbers; None for one not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = dgm_jax.__version__ if name == "dgm_jax" else None
    return versions


def devices() -> dict[str, Any]:
    """JAX's backend and its devices, counted by kind; also the processor and its cores."""
    kinds: dict[str, int] = {}
    for device in jax.devices():
        kinds[device.device_kind] = kinds.get(device.device_kind, 0) + 1
    return {
        "backend": jax.default_backend(),
        "num_devices": jax.device_count(),
        "kinds": kinds,
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
    }


def _processor(listing: pathlib.Path = pathlib.Path("/proc/cpuinfo")) -> str:
    """The processor's model and family, since many generations share a model ("AMD EPYC")."""
    text = listing.read_text(errors="replace") if listing.exists() else ""
    facts = dict(re.findall(r"^(model name|cpu family)[ \t]*:[ \t]*(.*\S)", text, re.MULTILINE))
    model = facts.get("model name") or platform.processor() or platform.machine()
    return f"{model}, family {facts['cpu family']}" if "cpu family" in facts else model


def git_state(folder: pathlib.Path | None = None) -> dict[str, Any] | None:
    """Describe the checkout that this package is imported from.

    A package in some other project's virtual environment is not part of that project's commit, so
    the checkout's root must be the folder that holds the package.

    Args:
        folder: the folder that should be the checkout's root; by default that of the package.

    Returns:
        {"commit", "dirty"}, or None outside of a checkout.
    """
    folder = folder or pathlib.Path(__file__).resolve().parents[2]
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None or pathlib.Path(top).resolve() != folder.resolve():
        return None
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    status = _git(folder, "status", "--porcelain")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
    """Output of a git command that only reads; None if git is missing, fails or hangs."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "--no-optional-locks", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def command_line(arguments: list[str] | None = None) -> str:
    """Write the command as one could type it again, without the interpreter's folder and secrets.

    The value of an argument whose name contains token, secret, password, key or credential becomes
    `***`.

    Args:
        arguments: the words of the command; by default those of this process.

    Returns:
        The command for a shell.
    """
    words = list(sys.orig_argv if arguments is None else arguments)
    if words:
        words[0] = pathlib.PurePath(words[0]).name
    if len(words) > 1 and pathlib.PurePath(words[1]).name == "dgm-jax":
        words = ["dgm-jax", *words[2:]]
    shown = []
    hide_next = False
    for word in words:
        is_option = word.startswith("-")
        name, equals, _ = word.partition("=")
        if hide_next and not is_option:
            shown.append("***")
            hide_next = False
            continue
        is_secret = bool(_SECRET.search(name))
        hide_next = is_option and not equals and is_secret
        shown.append(f"{name}=***" if equals and is_secret else word)
    return shlex.join(shown)


def jax_settings() -> dict[str, Any]:
    """Settings of JAX that affect numbers."""
    return {name: getattr(jax.config, name, None) for name in JAX_SETTINGS}


def collect_environment() -> dict[str, Any]:
    """The content of environment.json: date, command, versions, devices, settings, commit."""
    return {
        "date": utc_now(),
        "command": command_line(),
        "platform": platform.platform(),
        "versions": package_versions(),
        "devices": devices(),
        "jax_settings": jax_settings(),
        "git": git_state(),
    }
