"""Flipped bits and files cut short in a checkpoint: what is loaded is what was saved.

The lanes are those of the ring GAN (in short of the tiny game), as its program starts them, saved
at two steps. All is done by one child, which writes a line for each case.
"""

import json
import pathlib
import random
import shutil
from collections.abc import Iterator

from forked import Child
from runs import TINY, Case, Game, Room, real_runs

STEPS = (10, 20)
IDENTITY = {"experiment": "damaged", "arms": ["a", "b"], "settings": {"seed": 0}, "data": {}}
TRUNCATIONS = 60 / 1060  # of the cases


def trial(count: int, rng: random.Random, room: Room) -> Iterator[Case]:
    game = TINY if room.short else real_runs()[0]
    cuts = max(1, round(count * TRUNCATIONS)) if count > 1 else 0
    damages = [_flip] * (count - cuts) + [_cut] * cuts
    folder, seed = room.fresh("damaged"), rng.random()
    folder.mkdir()
    done = Child(lambda: _all(game, folder, damages, random.Random(seed)), folder).wait(3600)
    log = folder / "cases.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    cases = [Case(*json.loads(line)) for line in lines]
    yield from cases
    if done.code != 0 or len(cases) < count:
        yield Case("a damaged checkpoint", f"the process ended: {done}", count - len(cases))


def _all(game: Game, folder: pathlib.Path, damages, rng: random.Random) -> int:
    """Saves lanes, then damages copies of them, one after the other."""
    trees, abstract = _lanes(game)
    sound, damaged = folder / "sound", folder / "damaged"
    checkpoints = _checkpoints(sound)
    for step in STEPS:
        checkpoints.save(step, trees[step], [])
    checkpoints.close()
    with open(folder / "cases.jsonl", "w") as log:
        for damage in damages:
            shutil.copytree(sound, damaged)
            what = damage(_file(damaged, rng), rng)
            problem = _loaded(damaged, trees, abstract)
            print(json.dumps([what.replace(str(folder), ""), problem]), file=log, flush=True)
            shutil.rmtree(damaged)
    return 0


def _checkpoints(folder):
    from dgm_jax.training.checkpoint import Checkpoints

    return Checkpoints(folder, IDENTITY, keep=len(STEPS))


def _lanes(game: Game):
    """{step: lanes} of the first group of a run, and their shapes."""
    import jax
    import jax.numpy as jnp

    from dgm_jax.run import cells, lanes, start

    settings = start.parse(game.experiment, game.flags)
    config, launch = settings.study, settings.launch
    group = cells.groups(game.experiment, cells.arms(game.experiment, config, {}))[0]
    inputs = game.experiment.functions.load(game.experiment.data_view(config), ())
    keys, hyper = lanes.lanes_of(group, config)
    compiled = lanes.distribute_group(game.experiment, launch, group, inputs, keys, hyper)
    fresh = compiled.init(keys, hyper)

    def at(step):
        state = fresh.train_state
        params = jax.tree.map(lambda x: x * (1 + step / 64), state.params)
        made = jnp.full_like(state.step, step)
        return fresh._replace(train_state=state._replace(params=params, step=made))

    return {step: at(step) for step in STEPS}, compiled.abstract(keys, hyper)


def _file(folder, rng: random.Random) -> pathlib.Path:
    """A file that is not empty; half of the time by size, which means the arrays."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)
    newest = [p for p in files if p.relative_to(folder).parts[0] == str(STEPS[-1])]
    files = newest if rng.random() < 0.8 else files
    weights = [p.stat().st_size for p in files] if rng.random() < 0.5 else None
    return rng.choices(files, weights)[0]


def _flip(file: pathlib.Path, rng: random.Random) -> str:
    content = bytearray(file.read_bytes())
    byte, bit = rng.randrange(len(content)), rng.randrange(8)
    content[byte] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {byte} of {file} flipped"


def _cut(file: pathlib.Path, rng: random.Random) -> str:
    size = file.stat().st_size
    left = rng.choice([0, 1, size // 2, size - 1, rng.randrange(size)])
    file.write_bytes(file.read_bytes()[:left])
    return f"{file} cut from {size} to {left} bytes"


def _loaded(folder, trees, abstract) -> str | None:
    """What is wrong with what a folder gives; None for the saved bits, or a refusal."""
    from dgm_jax.core import RunDirectoryError

    try:
        checkpoints = _checkpoints(folder)
        try:
            step, lanes, notices = checkpoints.restore_newest(abstract)
        finally:
            checkpoints.close()
    except RunDirectoryError as error:
        return None if len(str(error).split()) >= 4 else f"no sentence: {error}"
    except Exception as error:
        return f"{type(error).__name__} instead of a refusal: {error}"
    if step not in trees or not _same_bits(lanes, trees[step]):
        return f"step {step} was loaded with other bits than were saved; notices: {notices}"
    if step != STEPS[-1] and not notices:
        return f"step {step} was taken without a word"
    return None


def _same_bits(tree, other) -> bool:
    import jax
    import numpy as np

    def plain(x):
        key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(x) if key else x)

    if jax.tree.structure(tree) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True)
    return all(
        a.dtype == b.dtype and a.shape == b.shape and plain(a).tobytes() == plain(b).tobytes()
        for a, b in pairs
    )
