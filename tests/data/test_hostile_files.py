"""Hostile files over all readers: refused or read, without a raw exception, code run, or much
memory. `python tests/faults readers` does it with 300 of them."""

import pickle

import hostile_files
import numpy as np
import read_hostile


def test_hostile_files_are_refused_or_read(tmp_path):
    code, found = read_hostile.read_apart(tmp_path, 60)
    assert found["raw"] == [] and found["ran"] == [] and not found["canary"] and code == 0, found
    assert found["peak_bytes"] < 1e9, found
    assert set(found["refused"]) == {"folder", "npz", "idx"}
    assert sum(found["refused"].values()) >= 30
    assert sum(found["refused"].values()) + sum(found["loaded"].values()) == 60


def test_the_same_seed_makes_the_same_files(tmp_path):
    made = [hostile_files.write(tmp_path / str(k), seed, 8) for k, seed in enumerate((1, 1, 2))]
    contents = [
        [p.read_bytes() for p in sorted((tmp_path / str(k)).rglob("*")) if p.is_file()]
        for k in range(3)
    ]
    assert contents[0] == contents[1] != contents[2]
    assert [n.replace("/0/", "/1/") for n in made[0]] == made[1]


def test_the_canary_sings_where_pickles_are_trusted(tmp_path):
    canary = tmp_path / "canary"
    array = np.empty(2, object)
    array[:] = hostile_files.Canary(canary)
    np.savez(tmp_path / "a.npz", x=array)
    with np.load(tmp_path / "a.npz", allow_pickle=True) as archive:
        assert len(archive["x"]) == 2 and canary.exists()
    canary.unlink()
    pickle.loads(pickle.dumps(hostile_files.Canary(canary))).close()
    assert canary.exists()
