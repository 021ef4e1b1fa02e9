"""Checkpoints are taken by the run, the arms and the step that they were made for, and by no
other."""

import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dgm_jax import parallel
from dgm_jax.core import Lane, RunDirectoryError, TrainState
from dgm_jax.training.checkpoint import Checkpoints

IDENTITY = {
    "experiment": "tiny",
    "arms": ("plain", "half"),
    "settings": {"seed": 0, "rate": 0.1, "kind": ("plain", "half"), "data": None},
    "data": {"name": "ring", "sha256": "00ff"},
}


def lanes(step, failed_at=(-1, -1)):
    """Two lanes after `step` steps, but for those that failed before."""
    made = [step if at < 0 else at for at in failed_at]
    keys = jax.random.split(jax.random.key(0), 2)
    params = {"net": jnp.arange(2.0) + step}
    train_state = TrainState(jnp.int32(made), keys, keys, params, {}, {})
    return Lane(train_state, jnp.int32(failed_at), keys, {})


def abstract():
    sharding = NamedSharding(parallel.make_mesh(1, jax.devices()[:1]), PartitionSpec())
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), lanes(0)
    )


def saved(folder, *steps, identity=IDENTITY, trees=lanes):
    checkpoints = Checkpoints(folder, identity, 3)
    for step in steps:
        checkpoints.save(step, trees(step))
    checkpoints.close()


def restore(folder, identity=IDENTITY):
    checkpoints = Checkpoints(folder, identity, 3)
    try:
        return checkpoints.restore_newest(abstract())
    finally:
        checkpoints.close()


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def assert_refused(folder, message, identity=IDENTITY):
    """The folder is refused with these words and keeps every byte."""
    before = contents(folder)
    with pytest.raises(RunDirectoryError, match=message):
        restore(folder, identity)
    assert contents(folder) == before


def test_its_own_is_taken(folder):
    """Also where the identity says the same in another way: lists for tuples, another order."""
    saved(folder, 10, 20)
    same = {name: IDENTITY[name] for name in reversed(IDENTITY)}
    step, tree, notices = restore(folder, {**same, "arms": ["plain", "half"]})
    assert step == 20 and notices == []
    np.testing.assert_array_equal(tree.train_state.params["net"], [20.0, 21.0])


@pytest.mark.parametrize(
    "change, named",
    [
        ({"experiment": "other"}, "experiment: 'tiny' there, 'other' here"),
        ({"arms": ("plain",)}, r"arms: \['plain', 'half'\] there, \['plain'\] here"),
        (
            {"settings": {**IDENTITY["settings"], "seed": 7, "rate": 0.2}},
            r"settings.rate: 0.1 there, 0.2 here; settings.seed: 0 there, 7 here\. Put",
        ),
        ({"settings": {**IDENTITY["settings"], "new": 1}}, r"settings.new: '\(absent\)' there, 1"),
        ({"data": {"name": "ring", "sha256": "00fe"}}, "data.sha256: '00ff' there, '00fe' here"),
    ],
)
def test_one_of_another_run_is_refused_by_what_differs(folder, change, named):
    saved(folder, 10)
    assert_refused(
        folder, f"checkpoint 10 in .* belongs to another run: {named}", {**IDENTITY, **change}
    )


def test_a_foreign_one_is_refused_although_an_older_one_is_sound(folder, tmp_path):
    saved(folder, 10)
    saved(tmp_path / "foreign", 20, identity={**IDENTITY, "experiment": "other"})
    (tmp_path / "foreign" / "20").rename(folder / "20")
    assert_refused(folder, "checkpoint 20 .* experiment: 'other' there, 'tiny' here")


def test_a_renamed_one_is_refused_and_taken_under_its_own_name(folder):
    saved(folder, 10, 20)
    (folder / "20").rename(folder / "40")
    assert_refused(
        folder, "checkpoint 40 in .* is checkpoint 20 under another name: rename it to 20"
    )
    (folder / "40").rename(folder / "20")
    assert restore(folder)[0] == 20


def test_lanes_of_another_step_are_refused(folder):
    saved(folder, 40, trees=lambda step: lanes(20))
    assert_refused(folder, r"checkpoint 40 in .* holds lanes after \[20\] steps")


def test_a_lane_that_failed_may_stand_still(folder):
    saved(folder, 40, trees=lambda step: lanes(step, failed_at=(-1, 13)))
    step, tree, _ = restore(folder)
    assert step == 40 and tree.train_state.step.tolist() == [40, 13]


def test_a_damaged_newest_one_falls_back_to_the_older(folder):
    saved(folder, 10, 20)
    seal = folder / "20" / "seal" / "metadata"
    seal.write_text(seal.read_text().replace('"tiny"', '"tinz"'))
    step, tree, notices = restore(folder)
    assert step == 10 and len(notices) == 1
    assert "checkpoint 20 cannot be read" in notices[0] and "seal" in notices[0]
    np.testing.assert_array_equal(tree.train_state.params["net"], [10.0, 11.0])


def test_one_of_an_older_version_is_refused(folder):
    """The seal before it held an identity: the hash of the arrays, and their list with its hash."""
    saved(folder, 10)
    file = folder / "10" / "seal" / "metadata"
    seal = json.loads(file.read_text())
    digest = hashlib.sha256(json.dumps(seal["leaves"], sort_keys=True).encode()).hexdigest()
    old = {"sha256": seal["sha256"], "leaves": seal["leaves"], "leaves_sha256": digest}
    file.write_text(json.dumps(old))
    assert_refused(
        folder, "checkpoint 10 in .* was written by a version that did not note .* begin again"
    )
