"""Hostile files of weights: none is loaded, nothing in them is run, no memory is eaten.

A finished run of the ring GAN is loaded by `run.load` in a child of its own for each file.
Survived is an error of the library's own, one sentence or more, with no more than 1 GB held at any
time, and without the file that a pickle would have made. Where the file of arrays is edited, the
manifest is made to fit it: as many bytes, and their SHA-256. An edit of what a manifest only tells,
and what is in `HARMLESS`, may also be loaded, with the very bits and settings that were saved.
"""

import hashlib
import json
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import safetensors_files
from forked import Child
from runs import TINY, Case, Game, Room, real_runs, sample

MOST_BYTES = 10**9
PATIENCE = 120.0
MODELS = "models"
HARMLESS = {
    "manifest: removed",  # the newest checkpoint has the same arrays
    "arrays: a name twice, the first time with other bytes",  # the last one counts
    "arrays: a name twice, both times the same",
}
Attack = Callable[[Path, Path], object]  # (manifest, file of arrays), to be changed


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    model = Saved(TINY, "plain") if room.short else Saved(_ring(), "vanilla")
    sound = room.alone(model.game).folder
    canary = room.fresh("canary")
    expected = _loaded(sound, model)
    if not expected.startswith("loaded"):
        yield Case("a sound model", expected)
        return
    attacks = _on_arrays(canary) | _on_manifests(canary) | _on_files()
    told = _on_told(sound, model)
    for name, attack in sample(list((attacks | told).items()), count, rng):
        folder = room.fresh("attacked")
        shutil.copytree(sound, folder, symlinks=True)
        attack(*_pair(folder, model))
        found, may_load = _loaded(folder, model), name in told or name in HARMLESS
        fine = found.startswith("refused") or may_load and found == expected
        problem = None if fine else found
        yield Case(name, "the canary was made" if canary.exists() else problem)
        shutil.rmtree(folder)


class Saved(NamedTuple):
    """An arm of a run whose model is loaded."""

    game: Game
    arm: str


def _ring() -> Game:
    flags = "--method vanilla --num_seeds 2 --num_steps 2 --log_every 2 --batch_size 16"
    return real_runs()[0]._replace(flags=(*flags.split(), "--num_eval", "100"))


def _pair(folder: Path, model: Saved) -> tuple[Path, Path]:
    arrays = folder / MODELS / f"{model.arm}.safetensors"
    return arrays.with_suffix(".json"), arrays


def _loaded(folder: Path, model: Saved) -> str:
    """ "loaded" and a hash of all that came, or "refused" and why, or what else happened."""
    ended = Child(lambda: _load(folder, model), folder).wait(PATIENCE)
    if ended.code is None:
        return f"it was not done after {PATIENCE} s"
    if ended.peak_bytes > MOST_BYTES:
        return f"{ended.peak_bytes / 1e6:.0f} MB were held: {ended}"
    return ended.out if ended.code == 0 else f"an error that is no refusal: {ended}"


def _load(folder: Path, model: Saved) -> int:
    from dgm_jax.core import DgmError
    from dgm_jax.run import load

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    held = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 6 * MOST_BYTES,) * 2)  # spares the machine
    try:
        trained = load(folder, model.arm, experiment=model.game.experiment)
    except DgmError as error:
        print(f"refused: {error}", end="")
        return 0 if len(str(error).split()) >= 4 else 1
    print(f"loaded {_digest(trained)}", end="")
    return 0


def _digest(trained) -> str:
    import jax
    import numpy as np

    digest = hashlib.sha256(repr(trained.config).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path((trained.params, trained.state)):
        array = np.asarray(leaf)
        digest.update(f"{path}{array.dtype}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def _on_arrays(canary: Path) -> dict[str, Attack]:
    """The file of arrays, and a manifest that fits it."""

    def attack(edit):
        def do(manifest, arrays):
            content = edit(arrays.read_bytes())
            arrays.write_bytes(content)
            told = json.loads(manifest.read_text())
            told |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            manifest.write_text(json.dumps(told))

        return do

    edits = safetensors_files.foreign(canary) | safetensors_files.HEADERS
    return {f"arrays: {name}": attack(edit) for name, edit in edits.items()}


def _on_files() -> dict[str, Attack]:
    """Something else in the place of one of the two files."""

    def linked_out(path):
        outside = path.parents[1].with_name(f"{path.parents[1].name}-{path.name}")
        path.rename(outside)
        path.symlink_to(outside)

    def sparse(path):
        os.truncate(path, 10**11)

    def other(make):
        def do(path):
            path.unlink()
            make(path)

        return do

    kinds = {
        "removed": Path.unlink,
        "a folder": other(Path.mkdir),
        "a pipe": other(os.mkfifo),
        "a link to itself": other(lambda path: path.symlink_to(path.name)),
        "a link to a device": other(lambda path: path.symlink_to("/dev/zero")),
        "a link out of the folder": linked_out,
        "100 GB": sparse,
    }
    manifest = {f"manifest: {name}": lambda m, a, do=do: do(m) for name, do in kinds.items()}
    return manifest | {f"arrays: {name}": lambda m, a, do=do: do(a) for name, do in kinds.items()}


def _on_manifests(canary: Path) -> dict[str, Attack]:
    import pickle

    def whole(content: bytes) -> Attack:
        return lambda manifest, arrays: manifest.write_bytes(content)

    def field(**changes) -> Attack:
        def do(manifest, arrays):
            told = {**json.loads(manifest.read_text()), **changes}
            manifest.write_text(json.dumps({k: v for k, v in told.items() if v != "absent"}))

        return do

    def entry(**changes) -> Attack:
        """The first array's."""

        def do(manifest, arrays):
            told = json.loads(manifest.read_text())
            next(iter(told["arrays"].values())).update(changes)
            manifest.write_text(json.dumps(told))

        return do

    deep = b"[" * safetensors_files.DEEP + b"]" * safetensors_files.DEEP
    attacks = {
        "text": whole(b"these are no weights"),
        "empty": whole(b""),
        "a list": whole(b"[]"),
        "a pickle": whole(pickle.dumps(safetensors_files.Canary(canary))),
        "deep": whole(deep),
        "a deep entry": whole(b'{"arrays":' + deep + b"}"),
        "64 MB": whole(b"{" + b" " * (1 << 26) + b"}"),
        "NaN": whole(b'{"format": NaN}'),
        "its path": field(file="../../../../etc/passwd"),
        "an absolute path": field(file="/dev/zero"),
        "no path": field(file=""),
        "2^60 bytes": field(bytes=2**60),
        "fewer than no bytes": field(bytes=-1),
        "true for bytes": field(bytes=True),
        "another hash": field(sha256="0" * 64),
        "another format": field(format=10**6),
        "no arrays": field(arrays={}),
        "an array's size of 2^40": entry(shape=[2**40]),
        "an array's size negative": entry(shape=[-1]),
        "an array's dtype": entry(dtype="float64"),
        "an array's dtype a number": entry(dtype=7),
        "an array's hash": entry(sha256="0" * 64),
    }
    for name in ("format", "file", "bytes", "sha256", "arrays", "about"):
        attacks[f"without {name}"] = field(**{name: "absent"})
        attacks[f"a list for {name}"] = field(**{name: [1]})
    return {f"manifest: {name}": attack for name, attack in attacks.items()}


def _on_told(sound: Path, model: Saved) -> dict[str, Attack]:
    """Each field that a manifest tells beside the arrays, changed to another of its kind."""
    told = json.loads(_pair(sound, model)[0].read_text())["about"]

    def attack(path):
        def do(manifest, arrays):
            content = json.loads(manifest.read_text())
            place = content["about"]
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = _another(place[path[-1]])
            manifest.write_text(json.dumps(content))

        return do

    return {f"manifest: about {'.'.join(path)}": attack(path) for path in _paths(told)}


def _paths(tree: dict, before: tuple = ()) -> Iterator[tuple]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _paths(value, (*before, name))
        else:
            yield (*before, name)


def _another(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    return f"{value} or other" if isinstance(value, str) else "other"
