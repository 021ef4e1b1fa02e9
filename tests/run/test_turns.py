"""Runs whose lanes take turns, are padded, or train on microbatches: the record is the same."""

import json
import signal

import jax
import pytest
from tiny_game import rows_of, run, stopping, summary_of

from dgm_jax import cli

pytestmark = pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
BY_MAP = "--strategy", "map"
IN_TURNS = "--num_devices", "1", "--lanes_at_once", "2"
PADDED = "--num_devices", "2", "--lanes_at_once", "0"


def record(out):
    """Hashes, rows, and what the newest checkpoint says of its arrays and their bits."""
    summary = summary_of(out)
    seal = json.loads(next(out.glob("checkpoints/*/30/seal/metadata")).read_text())
    names = "final_params_sha256", "final_model_sha256", "failed_seeds", "metrics"
    return [summary[name] for name in names], rows_of(out), seal["leaves"], seal["sha256"]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory):
    """Three seeds, all at once on one device; the second one diverges."""
    out = tmp_path_factory.mktemp("at_once") / "run"
    assert run(out, *BY_MAP, "--poison", "0.5") == 0
    return out


@pytest.mark.parametrize("first, then", [(IN_TURNS, PADDED), (PADDED, IN_TURNS)])
def test_turns_and_padding_leave_no_trace(at_once, tmp_path, first, then):
    """Two lanes and then the third, and four places on two devices; a run that is stopped in the
    one way goes on in the other."""
    flags = *BY_MAP, "--poison", "0.5"
    assert run(tmp_path / "a", *flags, *first, experiment=stopping(signal.SIGTERM, 2)) == 143
    assert run(tmp_path / "a", *flags, *then, "--resume") == 0
    assert record(tmp_path / "a") == record(at_once)
    assert run(tmp_path / "b", *flags, *first) == 0
    assert record(tmp_path / "b") == record(at_once)


def test_a_longer_run_of_padded_lanes(installed, tmp_path):
    assert run(tmp_path / "a", *BY_MAP, *PADDED) == 0
    longer = "--num_steps", "40", "--out", tmp_path / "b"
    assert cli.main(["resume", *map(str, (tmp_path / "a", *longer))]) == 0
    assert run(tmp_path / "c", *BY_MAP, "--num_steps", "40") == 0
    name = "final_model_sha256"
    assert summary_of(tmp_path / "b")[name] == summary_of(tmp_path / "c")[name]


def test_checkpoints_of_other_microbatches_are_refused(tmp_path, capfd):
    microbatches = "--microbatches", "2"
    assert run(tmp_path / "a", *microbatches, experiment=stopping(signal.SIGTERM, 1)) == 143
    assert run(tmp_path / "a", "--resume") == 2
    assert "microbatches: 2 there, 1 here" in capfd.readouterr().err
    assert run(tmp_path / "a", *microbatches, "--resume") == 0


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (("--lanes_at_once", "-1"), "lanes_at_once must be 0 (all) or more, got -1"),
        (("--microbatches", "0"), "microbatches must be at least 1, got 0"),
        (("--microbatches", "3"), "a batch of 8 cannot be divided into 3 microbatches; nearest"),
        (("--shard_parameters", "--devices", "pmap"), "shard_parameters needs devices=jit"),
    ],
)
def test_what_no_run_could_have(tmp_path, capfd, flags, sentence):
    assert run(tmp_path / "a", *flags) == 2
    assert sentence in capfd.readouterr().err
    assert not (tmp_path / "a" / "config.json").exists()
