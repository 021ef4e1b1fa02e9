"""The peers of the extra `benchmark`, where they are installed: they compute what the library does,
and a check of them fails where they do not."""

import importlib
import math

import jax
import numpy as np
import pytest

import dgm_jax  # noqa: F401 - before the first computation
from benchmarks import contract

CHECKS = [
    ("flowjax", "flows", {"kind": kind, "direction": direction, "dim": 4})
    for kind in ("coupling_flow", "spline_flow")
    for direction in ("forward", "inverse")
]
CHECKS += [
    ("flowjax", "flow_density", {"shape": {"dim": 4, "hidden": 8, "batch": 8, **more}})
    for more in ({}, {"bins": 4})
]
CHECKS += [
    ("numpyro", "hmc", {"images": 2}),
    ("numpyro", "vae", {"shape": {"width": 8, "latent": 3, "batch": 4}}),
    ("prdc", "neighbours", {"rows": 60, "features": 4}),
]


def module(peer, family, name="check"):
    """A module of a family, or a skip where its peer, or PyTorch, is not installed."""
    pytest.importorskip(peer)
    if peer != "flowjax":
        pytest.importorskip("torch")
    return importlib.import_module(f"{contract.FAMILIES}.{family}.{name}")


@pytest.mark.parametrize("peer, family, options", CHECKS)
def test_a_peer_computes_the_same(peer, family, options):
    facts = module(peer, family).check(**options)
    compared = {name for found in facts.values() for name in found}
    assert any(name.startswith(peer) for name in compared), compared


def test_a_flow_of_other_weights_is_not_the_same(monkeypatch):
    check = module("flowjax", "flows")
    weaker = lambda *given: jax.tree.map(lambda w: 0.9 * w, check.ours.moved_params(*given))
    monkeypatch.setattr(check.peer, "moved_params", weaker)
    with pytest.raises(contract.Unequal):
        check.check("coupling_flow", "forward", 4)


def test_chains_of_another_step_size_are_not_the_same(monkeypatch):
    check = module("numpyro", "hmc")
    numpyro_peer = module("numpyro", "hmc", "numpyro_peer")
    monkeypatch.setattr(numpyro_peer, "STEP_SIZE", 0.09)
    with pytest.raises(contract.Unequal):
        check.check(2)


@pytest.mark.parametrize("side", ["ours", "numpyro_peer"])
def test_weights_as_operands_make_the_same_transitions(side):
    transitions = module("numpyro", "hmc", side).transitions
    a, b = (transitions(2, 3, steps=2, as_operands=given) for given in (False, True))
    assert a.count == b.count
    for mine, theirs in zip(a.call(), b.call(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_a_peer_trains_every_seed_on_rows_of_its_own():
    shape = {"dim": 2, "hidden": 8, "batch": 256}
    case = module("flowjax", "flow_density", "peer").train(shape, steps=2, seeds=2)
    _, losses = case.call()
    assert case.count == 4 and losses.shape == (2, 2)
    # the flow starts as the identity: the mean of 256 values around the entropy of N(0, I)
    assert np.abs(losses - (1 + math.log(2 * math.pi))).max() < 5 / math.sqrt(256)
    assert len(set(losses.ravel().tolist())) == 4
