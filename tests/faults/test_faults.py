"""The short form of the fault harness, `python tests/faults --short`, in a process of its own:
it forks runs from a JAX that has started no device."""

import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = pytest.mark.optimized  # it decides itself how runs are compiled

HARNESS = pathlib.Path(__file__).parent
NAMES = (
    "kills",
    "damage",
    "foreign",
    "disks",
    "starts",
    "signals",
    "weights",
    "edited",
    "pages",
    "settings",
)


@pytest.fixture(scope="module")
def said():
    """{fault: its line and those of its failures}."""
    done = subprocess.run(
        [sys.executable, str(HARNESS), "--short"], capture_output=True, text=True, timeout=900
    )
    parts = re.split(rf"^(?=(?:{'|'.join(NAMES)}): )", done.stdout, flags=re.MULTILINE)
    found = {part.split(":")[0]: part for part in parts if part}
    assert set(found) == set(NAMES), done.stdout + done.stderr
    assert done.returncode in (0, 1), done.stderr
    return found


@pytest.mark.parametrize("name", NAMES)
def test_all_survive(said, name):
    line = said[name].splitlines()[0]
    if "skipped" in line:
        pytest.skip(line)
    tried, survived = map(int, re.findall(r"(\d+) (?:tried|survived)", line))
    assert tried > 1 and survived == tried and "FAILED" not in said[name], said[name]


def test_an_unknown_fault_is_refused():
    done = subprocess.run(
        [sys.executable, str(HARNESS), "floods"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2 and "no fault 'floods'" in done.stderr
