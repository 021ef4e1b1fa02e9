"""What the first look at an accelerator runs exists, and knows the kinds that are published."""

import types

import pytest

from benchmarks import accelerator
from dgm_jax.parallel import KINDS
from dgm_jax.run import catalogue


def test_the_files_of_tests_and_the_experiments_exist():
    assert [file for file in accelerator.TESTS if not (accelerator.ROOT / file).is_file()] == []
    assert set(accelerator.TESTS_ON_CPU) <= set(accelerator.TESTS)
    assert set(accelerator.CASES) <= set(catalogue.experiments())


@pytest.mark.parametrize(
    "told, name",
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("TPU v5 lite", "v5e"),
        ("TPU v6 lite", "v6e"),
        ("TPU v4", "v4"),
        ("cpu", None),
    ],
)
def test_devices_are_known_by_what_jax_calls_them(monkeypatch, told, name):
    device = types.SimpleNamespace(device_kind=told)
    monkeypatch.setattr(accelerator.jax, "devices", lambda: [device])
    assert accelerator.published() == (KINDS[name] if name else None)
