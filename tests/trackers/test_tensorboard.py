"""TensorBoard's event files, read back by TensorBoard itself."""

import numpy as np
import pytest
import tiny_game
import tracked_run
from tracked_run import ARM, MEANS, SEEDS

from dgm_jax.store.records import safe_name
from dgm_jax.trackers.tensorboard import TensorBoard

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="needs extra tensorboard"
)


def read(folder):
    accumulator = event_accumulator.EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def test_two_parts_of_a_run_are_one(tmp_path):
    """Of the seed that failed there is nothing, and its value is not in the mean."""
    have, notices = tracked_run.track(TensorBoard, tmp_path)
    assert have == [-1, 10] and not notices
    files = read(tmp_path / "tensorboard" / safe_name(ARM))
    assert "error/seed_1" not in files.Tags()["scalars"]
    for name, values in (MEANS | SEEDS).items():
        events = files.Scalars(name)
        assert [event.step for event in events] == [10, 20]
        np.testing.assert_allclose([event.value for event in events], values)
    images = files.Images("red")
    assert [(image.step, image.width, image.height) for image in images] == [(10, 3, 2), (20, 3, 2)]
    texts = read(tmp_path / "tensorboard")
    summary = texts.Tensors("summary/text_summary")[0].tensor_proto.string_val[0].decode()
    settings = texts.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert f"| {ARM}/error | 0.5 |" in summary and '"rate": 0.1' in settings


def test_a_run_is_in_the_event_files(tmp_path):
    """Each row of metrics.jsonl, in the folder of its arm."""
    flags = "--kind plain half --trackers tensorboard".split()
    assert tiny_game.run(tmp_path / "a", *flags) == 0
    for arm in ("plain", "half"):
        rows = [row for row in tiny_game.rows_of(tmp_path / "a") if row["arm"] == arm]
        files = read(tmp_path / "a" / "tensorboard" / arm)
        for seed in range(3):
            events = files.Scalars(f"error/seed_{seed}")
            assert [event.step for event in events] == [row["step"] for row in rows]
            values = [row["error"][seed] for row in rows]
            np.testing.assert_allclose([event.value for event in events], values, rtol=1e-6)
