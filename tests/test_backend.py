"""The compiled arithmetic that everything here stands on, and the guard that keeps it right.

What happens at import is tried in processes of their own, most of them without JAX. A folder on
their path with nothing but metadata makes any version of jaxlib the installed one.
"""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from dgm_jax import _backend, probe

pytestmark = pytest.mark.optimized

ROOT = pathlib.Path(__file__).parents[1]
NEEDS_FLAG = pytest.mark.skipif(
    not _backend.flag_value(_backend.installed_version()),
    reason="this jaxlib needs no flag, or is unknown",
)
# Imports dgm_jax and prints what that did.
IMPORT = """
import json, os, sys, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import dgm_jax
print(json.dumps({
    "flags": os.environ.get("XLA_FLAGS"),
    "warnings": [str(w.message) for w in caught if w.category is RuntimeWarning],
    "jax": "jax" in sys.modules,
}))
"""


def run(code, path=(), **environment):
    """The last line that a fresh process prints, read as JSON."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    path = os.pathsep.join([*map(str, path), str(ROOT)])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=1800,
    )
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture
def pretend(tmp_path):
    """A function version -> folder whose metadata says that this version of jaxlib is installed."""

    def make(version):
        folder = tmp_path / f"jaxlib-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: jaxlib\nVersion: {version}")
        return tmp_path

    return make


@pytest.mark.parametrize("name", probe.PATTERNS)
def test_sums_are_right(name):
    """On the jaxlib that is installed, whichever it is, with what importing dgm_jax did."""
    error = probe.relative_errors([name])[name]
    assert error < probe.TOLERANCE


@pytest.mark.parametrize(
    "version, value",
    [
        ("0.9.2", None),
        ("0.10.0", ""),
        ("0.10.1", ""),
        ("0.10.2", "-reduce,-individual_convolution,-individual_dot"),
        *(
            (version, "-reduce,-individual_convolution")
            for version in ("0.11.0", "0.11.1", "0.11.2", "0.12.0", "0.12.0.1")
        ),
        ("0.12.0.1+selfbuilt", "-reduce,-individual_convolution"),
        ("0.12.0.2", None),
        ("0.12.1", None),
        ("0.12.0.dev20260901", None),
        ("1.0rc1", None),
    ],
)
def test_a_version_has_its_value(version, value):
    assert _backend.flag_value(version) == value


@pytest.mark.parametrize("version", ["0.10.2", "0.11.1", "0.12.0.1"])
def test_importing_sets_the_flag_beside_others_and_does_not_import_jax(pretend, version):
    done = run(IMPORT, [pretend(version)], XLA_FLAGS="--xla_other=1")
    flag = f"{_backend.FLAG}={_backend.flag_value(version)}"
    assert done == {"flags": f"--xla_other=1 {flag}", "warnings": [], "jax": False}


@pytest.mark.parametrize("version", ["0.10.0", "0.10.1"])
def test_a_version_without_the_fault_gets_no_flag(pretend, version):
    assert run(IMPORT, [pretend(version)]) == {"flags": None, "warnings": [], "jax": False}


@pytest.mark.parametrize("version", ["0.9.2", "0.12.1.dev20261201", "99.0"])
def test_an_unknown_version_gets_no_flag_and_a_warning(pretend, version):
    done = run(IMPORT, [pretend(version)])
    assert done["flags"] is None and not done["jax"]
    (warning,) = done["warnings"]
    assert version in warning and "python -m dgm_jax.probe" in warning


@pytest.mark.parametrize("value", ["-reduce", "-individual_dot,-REDUCE", "", "dot,individual_dot"])
def test_a_value_of_the_users_that_cures_is_left_alone(pretend, value):
    flags = f"{_backend.FLAG}={value} --xla_other=1"
    done = run(IMPORT, [pretend("0.12.0.1")], XLA_FLAGS=flags)
    assert done == {"flags": flags, "warnings": [], "jax": False}


@pytest.mark.parametrize("value", ["+reduce", "-individual_dot", "reduce", "dot,REDUCE"])
def test_a_value_of_the_users_that_does_not_cure_is_left_alone_with_a_warning(pretend, value):
    flags = f"--xla_other=1 {_backend.FLAG}={value}"
    done = run(IMPORT, [pretend("0.12.0.1")], XLA_FLAGS=flags)
    assert done["flags"] == flags
    (warning,) = done["warnings"]
    assert "wrong" in warning and "add -reduce" in warning


def test_flags_in_a_file_are_the_users_to_change(pretend, tmp_path):
    file = tmp_path / "flags.txt"
    file.write_text("--xla_other=1")
    done = run(IMPORT, [pretend("0.12.0.1")], XLA_FLAGS=str(file))
    assert done["flags"] == str(file)
    (warning,) = done["warnings"]
    assert f"add {_backend.FLAG}=-reduce" in warning and str(file) in warning


@pytest.mark.parametrize("version", ["0.12.0.1", "99.0"])
def test_where_jax_may_not_use_the_cpu_nothing_happens(pretend, version):
    done = run(IMPORT, [pretend(version)], JAX_PLATFORMS="cuda")
    assert done == {"flags": None, "warnings": [], "jax": False}


# What IMPORT prints, and the probe's errors beside it.
PROBE = f"""
{IMPORT.replace("print(json.dumps(", "done = ((")}
from dgm_jax import probe
print(json.dumps({{**done, "errors": probe.relative_errors(NAMES)}}))
"""


@NEEDS_FLAG
def test_jax_imported_first_but_not_started_is_guarded():
    done = run("import jax\n" + PROBE.replace("NAMES", "probe.SILENT"), JAX_PLATFORMS="cpu")
    assert done["warnings"] == []
    assert not probe.wrong(done["errors"])


@NEEDS_FLAG
def test_jax_started_first_is_warned_about_and_the_probe_sees_the_wrong_sums():
    """Without the flag: the evidence that the probe can fail, and that the flag is what cures."""
    code = "import jax; jax.devices()\n" + PROBE.replace("NAMES", "probe.PATTERNS")
    done = run(code, JAX_PLATFORMS="cpu")
    assert done["flags"] is None, "a flag that came too late must not stand in a run's record"
    (warning,) = done["warnings"]
    assert "started before dgm_jax was imported" in warning
    wrong = probe.wrong(done["errors"])
    assert wrong.keys() >= {
        "constant product, times, sum",
        "product with ones, times, sum",
        "maximum over dilated windows",
    }
    assert not any(error < 0.5 for error in wrong.values())  # some are NaN


@NEEDS_FLAG
def test_an_unknown_version_is_checked_when_something_is_compiled(pretend):
    """The installed jaxlib under a number that is not in the table, so without its flag."""
    code = (
        IMPORT
        + """
from dgm_jax import _backend
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    _backend.check_once("tpu")
    assert not caught
    _backend.check_once("cpu")
    _backend.check_once("cpu")
print(json.dumps([str(w.message) for w in caught if w.category is RuntimeWarning]))
"""
    )
    (warning,) = run(code, [pretend("99.0")], JAX_PLATFORMS="cpu")
    assert "jaxlib 99.0 computes wrong sums on CPU: constant product, times, sum" in warning
    cured = run(code, [pretend("99.1")], JAX_PLATFORMS="cpu", XLA_FLAGS=f"{_backend.FLAG}=-reduce")
    assert cured == []
