"""Weights & Biases offline: its files, read back as the documents of their format say.

A file is a log of LevelDB with a header of seven bytes: records in blocks of 32 KiB, each with a
checksum of four bytes, a length of two and a type of one (1 whole, 2 first, 3 middle, 4 last part).
A record is a protocol buffer.
"""

import json
import struct

import pytest
import tracked_run
from tracked_run import ARM, MEANS, SEEDS

from dgm_jax.trackers.wandb import Wandb

pytest.importorskip("wandb", reason="needs extra wandb")
BLOCK = 32 * 1024


def records(file):
    from wandb.proto import wandb_internal_pb2

    content = file.read_bytes()
    at = 7
    parts = b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:  # too little for a header
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(parts)
            parts = b""


def history(items):
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


@pytest.fixture
def without_key(tmp_path, monkeypatch):
    for name in (
        "WANDB_API_KEY",
        "WANDB_IDENTITY_TOKEN_FILE",
        "WANDB_MODE",
        "WANDB_PROJECT",
        "WANDB_BASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))


def test_two_parts_of_a_run_are_one(tmp_path, without_key, capfd):
    """Under one id, offline since there is no key, with a notice and without any other output."""
    have, notices = tracked_run.track(Wandb, tmp_path)
    assert have == [-1, 10]
    assert len(notices) == 2 and all("wandb sync" in notice for notice in notices)
    assert capfd.readouterr() == ("", "")
    files = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    logged = [list(records(file)) for file in files]
    assert len(files) == 2
    runs = [record.run for part in logged for record in part if record.HasField("run")]
    assert {(run.run_id, run.project, run.display_name) for run in runs} == {
        ("c0ffee11c0ffee11", "tiny", "a")
    }
    config = {item.key: item.value_json for item in runs[0].config.update}
    assert config["rate"] == "0.1" and config["note"] == "null"
    rows = [
        history(record.history.item)
        for part in logged
        for record in part
        if record.HasField("history")
    ]
    assert [(row["_step"], row["step"], row["total_step"]) for row in rows] == [
        (10, 10, 10),
        (20, 20, 20),
    ]
    for name, values in (MEANS | SEEDS).items():
        assert [row[f"{ARM}/{name}"] for row in rows] == values
    assert all(row[f"{ARM}/red/_type"] == "image-file" for row in rows)
    summary = [record.summary.update for record in logged[1] if record.HasField("summary")]
    assert history(item for update in summary for item in update)[f"final/{ARM}/error"] == 0.5
    codes = [record.exit.exit_code for part in logged for record in part if record.HasField("exit")]
    assert codes == [130, 0]


def test_a_key_of_another_server_is_none(tmp_path, without_key, monkeypatch):
    from dgm_jax.trackers import wandb

    (tmp_path / ".netrc").write_text("machine other.example login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    address = "https://other.example"
    assert not wandb._has_key("https://api.example")
    assert wandb._has_key(address)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert not wandb._has_key(address)
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb._has_key(address)
