"""Runs whose data stay on the host, beside the same runs with their data on the device."""

import os
import re
import signal
import subprocess
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_game import build, run, stopping, summary_of, tiny

from dgm_jax.core import Gather, draw_from
from dgm_jax.experiments import vqvae_images
from dgm_jax.run import Inputs, main
from dgm_jax.training import feeding

pytestmark = pytest.mark.optimized

NUMBERS = np.random.default_rng(0).normal(2.0, 1.0, 40).astype(np.float32)


def load(settings, needed):
    """Numbers to learn the mean of, beside the mean."""
    arrays = {"train": {"x": NUMBERS}, "target": jnp.float32(2.0)}
    return Inputs(arrays, {"name": "numbers", "identity": "numbers"})


def stored(config, hyper, inputs):
    """The tiny game on stored numbers."""
    gather = Gather(
        lambda key, index: jax.random.randint(jax.random.fold_in(key, index), (8,), 0, 40),
        lambda arrays, where, key, index: {"x": jnp.asarray(arrays["x"])[where]},
    )
    with_index = lambda batch, key, index: {**batch, "index": jnp.broadcast_to(index, (8,))}
    return build(config, hyper, inputs)._replace(draw=draw_from(gather, "train", with_index))


def reading_all(config, hyper, inputs):
    """The same with an evaluation that reads the training numbers."""
    evaluate = lambda train_state, arrays, key: {"error": jnp.max(arrays["train"]["x"])}
    return stored(config, hyper, inputs)._replace(evaluate=evaluate)


GAME = {"load": load, "build": stored}


def on(place, out, *flags, **changes):
    return run(out, "--data_on", place, *flags, experiment=tiny(**GAME | changes))


@pytest.fixture(scope="module")
def resident(tmp_path_factory):
    """What a run with data on the device ends with."""
    out = tmp_path_factory.mktemp("resident") / "run"
    assert on("device", out, "--kind", "plain", "half") == 0
    summary = summary_of(out)
    assert "feeding" not in summary
    return {name: summary[name] for name in ("final_model_sha256", "metrics")}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(feeding, "BLOCK_BYTES", 7 * 3 * 8 * 4)  # of seven steps of three seeds
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "feed"]


@pytest.mark.parametrize("places", [("host", "host"), ("host", "device"), ("device", "host")])
def test_a_run_may_go_on_with_its_data_elsewhere(places, resident, tmp_path):
    """Stopped after two of three chunks, which blocks of seven steps do not fit."""
    flags = ("--kind", "plain", "half")
    first = stopping(signal.SIGTERM, 3, **GAME)
    assert run(tmp_path, "--data_on", places[0], *flags, experiment=first) == 143
    assert on(places[1], tmp_path, *flags, "--resume") == 0
    summary = summary_of(tmp_path)
    assert {name: summary[name] for name in resident} == resident
    if places[1] == "host":
        fed = summary["feeding"]["half"]
        assert (fed["data_on"], fed["block_steps"]) == ("host", 7)
        assert fed["first_wait_seconds"] > 0 and 0 <= fed["wait_share"] < 1


def test_auto_is_the_host_where_data_are_large(resident, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("dgm_jax.run.placement.DEVICE_SHARE", 0.0)
    flags = ("--kind", "plain", "half", "--progress", "lines")
    assert on("auto", tmp_path / "a", *flags) == 0
    assert summary_of(tmp_path / "a")["final_model_sha256"] == resident["final_model_sha256"]
    said = capfd.readouterr().err
    assert re.search(r"plain: training data on the host \(0\.16 kB\), sent in blocks of 7", said)
    assert re.search(r"waited \d+\.\d s for the first block of data and .*%", said)
    assert on("auto", tmp_path / "b", *flags, build=reading_all) == 0
    assert "feeding" not in summary_of(tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"build": build}, "made on the device, not gathered from stored examples; choose"),
        ({"build": reading_all}, r"the evaluation reads train whole.*--data_on device"),
        (
            {"load": lambda *_: Inputs({"train": {"x": NUMBERS, "y": 0.0}, "target": 2.0}, {})},
            "not all of one length",
        ),
    ],
)
def test_data_that_cannot_be_on_the_host_are_refused(changes, reason, tmp_path, capfd):
    assert on("host", tmp_path / "a", **changes) == 2
    assert re.search(f"error: .*{reason}", capfd.readouterr().err)


def test_a_file_that_changes_during_the_run_ends_it_with_a_sentence(tmp_path, capfd):
    np.save(tmp_path / "x.npy", NUMBERS)

    def mapped(settings, needed):
        numbers = np.load(tmp_path / "x.npy", mmap_mode="r")
        return load(settings, needed)._replace(
            arrays={"train": {"x": numbers}, "target": jnp.float32(2.0)}
        )

    def summarize(arrays, config, inputs):
        os.truncate(tmp_path / "x.npy", 150)
        return {name: value for name, value in arrays.items() if value.ndim == 1}

    flags = ("--num_steps", "60")
    assert on("host", tmp_path / "a", *flags, load=mapped, summarize=summarize) == 2
    assert re.search(
        r"error: training data \['x'\]: .*x\.npy was .*while the run reads it; put the file back",
        capfd.readouterr().err,
    )


VQVAE = """--data digits --num_codes 8 --code_width 2 --width 2 --prior_width 4 --prior_layers 1
    --num_seeds 2 --batch_size 8 --num_steps 12 --log_every 6 --progress quiet --num_devices 1"""


@pytest.mark.slow
def test_a_vqvae_has_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(feeding, "BLOCK_BYTES", 5 * 2 * 8 * (64 + 4))  # of five steps
    hashes = []
    for place in ("device", "host"):
        flags = [*VQVAE.split(), "--data_on", place, "--out", str(tmp_path / place)]
        assert main(vqvae_images.EXPERIMENT, flags) == 0
        hashes.append(summary_of(tmp_path / place)["final_model_sha256"])
    assert hashes[0] == hashes[1]


FEEDS = """
import sys, numpy as np, jax, jax.numpy as jnp
from dgm_jax.core import Gather, Stream
from dgm_jax.run.memory import tree_bytes
from dgm_jax.training.feeding import Feed, blocks_of
from dgm_jax.core import Lane, TrainState
from dgm_jax.data import shuffled_positions
x = np.memmap(sys.argv[1], np.uint8, "r", 0, (int(sys.argv[2]), 2**16))
draw = Gather(lambda key, i: shuffled_positions(key, i, 64, len(x)), lambda *_: 0)
keys = jax.random.split(jax.random.key(0), 1)
state = TrainState(jnp.zeros(1, jnp.int32), keys, keys, {}, {}, {})
lanes = Lane(state, jnp.full(1, -1), keys, {})
stream = Stream(draw, 1)
steps = len(x) // 64
blocks = blocks_of(stream, keys, x, steps)
place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
anonymous = lambda: next(int(l.split()[1]) for l in open("/proc/self/status") if "RssAnon" in l)
peak, total = 0, 0
with Feed(lambda hyper: stream, lanes, x, place, blocks, first_step=0, last_step=steps) as feed:
    for step in range(steps):
        block, _ = feed.take(1)
        total += int(np.asarray(block.examples)[0, step % blocks.num_steps].sum(dtype=np.int64))
        peak = max(peak, anonymous())
print(peak // 1024, total, blocks.num_bytes)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(tmp_path):
    """An epoch of 128 MiB and of 1 GiB: all examples arrive once, in the same anonymous memory."""
    peaks = []
    for num in (2**11, 2**14):
        path = tmp_path / str(num)
        rows = np.arange(num, dtype=np.uint32).astype(np.uint8)
        with open(path, "wb") as stream:
            for row in rows:
                stream.write(np.full(2**16, row).data)
        command = [sys.executable, "-c", FEEDS, str(path), str(num)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak, total, _ = map(int, done.stdout.split())
        assert total == 2**16 * int(rows.sum(dtype=np.int64))
        peaks.append(peak)
        path.unlink()
    assert peaks[1] < peaks[0] + 200  # MiB; the larger set has 896 MiB more
