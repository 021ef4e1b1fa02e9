"""Two processes with two devices each compute what one process with one device computes."""

import json

import jax
import numpy as np
import pytest
from process_group import Group, trained

pytestmark = pytest.mark.optimized


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder in which two processes have left what they hold in the end."""
    out = tmp_path_factory.mktemp("two") / "results"
    ended = Group(2, "train", out).ended()
    assert [code for code, *_ in ended] == [0, 0], ended
    return out


@pytest.fixture(scope="module")
def of_two(written):
    """What each of two processes holds in the end."""
    return [json.loads((written / f"{index}.json").read_text()) for index in range(2)]


def test_both_processes_fetch_the_same(of_two):
    assert of_two[0] == of_two[1]


def test_gradient_of_a_shared_batch(of_two):
    """By gradient descent with a rate of 1 the first step is minus the gradient."""
    alone = trained(1, 1, jax.devices()[:1])
    together = {name: np.float32(value) for name, value in of_two[0]["one"].items()}
    np.testing.assert_array_equal(together["start"], alone["start"])
    steps = [np.subtract(of["end"], of["start"], dtype=np.float64) for of in (together, alone)]
    np.testing.assert_allclose(*steps, rtol=1e-6, atol=1e-6)


def test_lanes_by_map_have_the_same_bits(of_two):
    alone = trained(4, 5, jax.devices()[:1])
    for name, value in alone.items():
        np.testing.assert_array_equal(np.float32(of_two[0]["four"][name]), value, name)


def test_what_one_process_refuses_all_refuse(written):
    first, second = (
        json.loads((written / f"refusals-{index}.json").read_text()) for index in range(2)
    )
    of_second = "too little memory in process 1"
    of_first = "too little memory in process 0"
    assert first == {
        "nowhere": None,
        "in the second": ["ElsewhereError", of_second, 2],
        "in both": ["ConfigError", of_first, 2],
    }
    assert second == {
        "nowhere": None,
        "in the second": ["ConfigError", of_second, 2],
        "in both": ["ElsewhereError", of_first, 2],
    }
