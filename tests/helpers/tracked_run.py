"""A run in two parts, as trackers see it: a process logs one step, the next one another."""

import PIL.Image

from dgm_jax.trackers import Picture, Record, TrackedRun

SETTINGS = {"rate": 0.1, "kind": ["plain"], "note": None}
ARM = "plain, rate=0.1"
FIRST = {"error": [0.5, None, 1.5], "modes": [8.0, 7.0, 6.0]}
SECOND = {"error": [0.25, None, 0.75], "modes": [8.0, 8.0, 8.0]}
MEANS = {"error/mean": [1.0, 0.5], "modes/mean": [7.0, 8.0]}
SEEDS = {"error/seed_0": [0.5, 0.25], "error/seed_2": [1.5, 0.75], "modes/seed_1": [7.0, 8.0]}


def picture(folder, step):
    """A red plot of the arm."""
    path = folder / f"red_{step}.png"
    PIL.Image.new("RGB", (3, 2), (255, 0, 0)).save(path)
    return Picture("red", path, "It is red.", step, step, ARM)


def track(make, folder):
    """Logs step 10 and stops; continues, logs step 20, and finishes.

    Returns what the tracker says it has: before, and after the first part.
    """
    run = TrackedRun("c0ffee11c0ffee11", "tiny", "a", folder, SETTINGS)
    have = []
    notices = []
    for step, values, status in ((10, FIRST, "stopped"), (20, SECOND, "finished")):
        tracker = make()
        have.append(tracker.start(run, notices.append))
        tracker.picture(picture(folder, step))
        tracker.log(Record(step, step, {ARM: values}))
        tracker.end(status, {f"{ARM}/error": 0.5} if status == "finished" else {})
    return have, notices
