"""Checkpoints: what is restored is what was saved; a damaged one is never used, and never ends a
run silently."""

import gc
import logging
import resource
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dgm_jax import parallel, training
from dgm_jax.core import Aux, Lane, Player, RunDirectoryError
from dgm_jax.training.checkpoint import Checkpoints
from dgm_jax.training.lanes_file import FILE, LanesHandler, RestoreLanes, SaveLanes

# Where a file is damaged orbax drops a coroutine, and Python says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

IDENTITY = {"experiment": "tiny", "arms": ("plain",), "settings": {"seed": 0}}


def lane(seed, step=0):
    """A lane as a run carries it: NamedTuples, typed keys, int32 counters, Adam's state, empty
    entries."""
    loss = lambda params, state, batch, key: (jnp.sum(params["net"]["w"] ** 2), Aux(state, {}))
    players = {"d": Player(("net",), loss), "g": Player(("other",), loss)}
    algorithm = training.alternating(
        players, {"d": optax.adam(0.1), "g": optax.sgd(0.1, momentum=0.9)}
    )
    params = {"net": {"w": jnp.arange(3.0) + seed, "b": jnp.float16(0.1)}, "other": {}}
    state = {"net": {"count": jnp.int32(7), "empty": {}}, "other": {}}
    train_state = algorithm.init(jax.random.key(seed), params, state)
    train_state, _ = algorithm.step(train_state, lambda index: index)
    return Lane(
        train_state._replace(step=jnp.int32(step)),
        jnp.int32(-1),
        jax.random.key(99),
        {"lr": jnp.float32(0.3)},
    )


def lanes(num_lanes=4, step=0):
    return jax.tree.map(lambda *x: jnp.stack(x), *(lane(i, step) for i in range(num_lanes)))


def abstract(tree, sharding=None):
    sharding = sharding or NamedSharding(parallel.make_mesh(1, jax.devices()[:1]), PartitionSpec())
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def saved(folder, *steps, keep=3):
    checkpoints = Checkpoints(folder, IDENTITY, keep)
    for step in steps:
        checkpoints.save(step, lanes(step=step))
    checkpoints.close()


def restore(folder, like):
    checkpoints = Checkpoints(folder, IDENTITY, 3)
    found = checkpoints.restore_newest(like)
    checkpoints.close()
    return found


def damage(folder, step):
    """Cuts every file of a checkpoint short."""
    files = [path for path in (folder / str(step)).rglob("*") if path.is_file()]
    assert files
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_round_trip(folder):
    saved(folder, 10, 20)
    step, tree, notices = restore(folder, abstract(lanes()))
    assert step == 20 and notices == []
    assert isinstance(tree, Lane) and type(tree.train_state).__name__ == "TrainState"
    assert_same(tree, lanes(step=20))


def test_restored_keys_draw_the_same_numbers(folder):
    saved(folder, 1)
    _, tree, _ = restore(folder, abstract(lanes()))
    draw = jax.vmap(lambda key: jax.random.normal(key, (3,)))
    np.testing.assert_array_equal(draw(tree.train_state.key), draw(lanes().train_state.key))


def test_empty_folder(folder):
    assert restore(folder, abstract(lanes())) == (0, None, [])


@pytest.mark.parametrize("keep, expected", [(1, [40]), (2, [30, 40]), (3, [20, 30, 40])])
def test_the_newest_stay(folder, keep, expected):
    saved(folder, 10, 20, 30, 40, keep=keep)
    assert sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) == expected


def test_damaged_newest_falls_back_and_is_named(folder):
    saved(folder, 10, 20, 30)
    damage(folder, 30)
    step, tree, notices = restore(folder, abstract(lanes()))
    assert step == 20
    assert_same(tree, lanes(step=20))
    assert len(notices) == 1 and "checkpoint 30 cannot be read" in notices[0]


def test_one_missing_file_is_enough_to_fall_back(folder):
    saved(folder, 10, 20)
    (path,) = (folder / "20").rglob(FILE)
    path.unlink()
    step, tree, notices = restore(folder, abstract(lanes()))
    assert step == 10 and "20" in notices[0]
    assert_same(tree, lanes(step=10))


def test_all_damaged_is_refused_and_left_as_it_is(folder):
    saved(folder, 10, 20)
    damage(folder, 10)
    damage(folder, 20)
    before = contents(folder)
    with pytest.raises(
        RunDirectoryError,
        match="(?s)checkpoint 20 cannot be read.*checkpoint 10 cannot be read.*begin again",
    ):
        restore(folder, abstract(lanes()))
    assert contents(folder) == before


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A folder with checkpoints 10 and 20, to be copied."""
    folder = tmp_path_factory.mktemp("sound") / "checkpoints"
    saved(folder, 10, 20)
    return folder


@pytest.mark.parametrize("number", range(12))
def test_a_flipped_bit_is_never_loaded(folder, sound, number):
    """One bit of any file: the older checkpoint is used, or, where the bit said nothing, the very
    same arrays."""
    shutil.copytree(sound, folder)
    random = np.random.default_rng(number)
    files = sorted(
        path for path in (folder / "20").rglob("*") if path.is_file() and path.stat().st_size
    )
    sizes = np.array([path.stat().st_size for path in files])
    # Half of the flips fall anywhere, by size; half into the seal and orbax's own descriptions.
    path = files[random.choice(len(files), p=sizes / sizes.sum() if number % 2 else None)]
    content = bytearray(path.read_bytes())
    content[random.integers(len(content))] ^= 1 << random.integers(8)
    path.write_bytes(content)
    step, tree, notices = restore(folder, abstract(lanes()))
    assert (step, len(notices)) in {(10, 1), (20, 0)}
    assert_same(tree, lanes(step=step))


def test_a_flipped_bit_of_an_array_is_found(folder):
    """Every flip in the file of the arrays changes a number."""
    saved(folder, 10, 20)
    found = []
    for _ in range(2):
        (path,) = (folder / "20").rglob(FILE)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        step, _, notices = restore(folder, abstract(lanes()))
        found.append(step)
        saved(folder, 20)
    assert found == [10, 10] and len(list(folder.glob("damaged-20*"))) == 2  # the evidence stays


@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: x + b"0", lambda x: b""])
def test_a_file_of_another_size_is_not_read(folder, change):
    saved(folder, 10, 20)
    (path,) = (folder / "20").rglob(FILE)
    path.write_bytes(change(path.read_bytes()))
    step, tree, notices = restore(folder, abstract(lanes()))
    assert step == 10 and "bytes, and its arrays" in notices[0]
    assert_same(tree, lanes(step=10))


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg"])
def test_every_kind_of_array_comes_back(tmp_path, implementation):
    tree = {
        "bfloat16": jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3),
        "keys": jax.random.split(jax.random.key(3, impl=implementation), 4),
        "scalar": jnp.int32(-7),
        "nothing": jnp.zeros((3, 0)),
        "bool": jnp.array([True, False]),
        "complex": jnp.array([1 - 2j], jnp.complex64),
    }
    handler = LanesHandler()
    handler.save(tmp_path, SaveLanes(tree))
    assert_same(handler.restore(tmp_path, RestoreLanes(abstract(tree))), tree)


def test_a_save_keeps_no_memory(folder):
    """Blocks of Python's allocator after 40 more saves; tensorstore kept some hundred of each."""
    checkpoints, tree = Checkpoints(folder, IDENTITY, 2), lanes()
    counts = []
    for step in range(1, 101):
        checkpoints.save(step, tree._replace(failed_at=jnp.full(4, 0)))
        if step % 40 == 20:
            gc.collect()
            counts.append(sys.getallocatedblocks())
    checkpoints.close()
    assert counts[2] - counts[1] < 40 * 20


def test_a_run_goes_on_past_a_damaged_checkpoint(folder):
    """After falling back from 30 to 20 the run makes step 30 again; what it saves then is what a
    restart finds."""
    saved(folder, 20, 30)
    damage(folder, 30)
    checkpoints = Checkpoints(folder, IDENTITY, 3)
    step, tree, _ = checkpoints.restore_newest(abstract(lanes()))
    assert step == 20
    checkpoints.save(30, lanes(step=30))
    checkpoints.close()
    step, tree, notices = restore(folder, abstract(lanes()))
    assert step == 30 and notices == []
    assert_same(tree, lanes(step=30))


def test_a_lower_step_can_be_saved_after_a_damaged_one(folder):
    """The run falls back from 30 to 10 and saves at 20: that checkpoint is there after a kill."""
    saved(folder, 10, 30)
    damage(folder, 30)
    checkpoints = Checkpoints(folder, IDENTITY, 3)
    assert checkpoints.restore_newest(abstract(lanes()))[0] == 10
    checkpoints.save(20, lanes(step=20))
    checkpoints.close()
    step, tree, notices = restore(folder, abstract(lanes()))
    assert step == 20 and notices == []
    assert_same(tree, lanes(step=20))


def test_a_disk_that_refuses_leaves_the_older_ones(folder, capfd):
    """No file may grow beyond 2,000 bytes, as on a full disk; what was saved before is sound, and
    the error's own sentence is all that is said."""
    saved(folder, 10)
    big = lanes(step=20)
    big.train_state.params["net"]["w"] = jax.random.normal(jax.random.key(0), (4, 3_000))
    checkpoints = Checkpoints(folder, IDENTITY, 3)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
        with pytest.raises(RunDirectoryError, match="checkpoint 20 cannot be written"):
            checkpoints.save(20, big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    checkpoints.close()
    assert capfd.readouterr().err == ""
    step, tree, notices = restore(folder, abstract(lanes()))
    assert step == 10 and notices == []
    assert_same(tree, lanes(step=10))


def renamed(tree):
    return tree._replace(hyper={"learning_rate": tree.hyper["lr"]})


def half(tree):
    return tree._replace(hyper={"lr": tree.hyper["lr"].astype(jnp.float16)})


@pytest.mark.parametrize(
    "change, named",
    [
        (renamed, r"learning_rate'\]: absent there, float32\[4\] here"),
        (half, r"\['lr'\]: float32\[4\] there, float16\[4\] here"),
        (
            lambda tree: jax.tree.map(lambda x: x[:2], tree),
            r"\['w'\]: float32\[4, 3\] there, float32\[2, 3\] here",
        ),
    ],
)
def test_another_structure_is_refused_by_its_leaves(folder, change, named):
    saved(folder, 10)
    before = contents(folder)
    with pytest.raises(RunDirectoryError, match=named):
        restore(folder, abstract(change(lanes())))
    assert contents(folder) == before


def test_an_exhausted_memory_is_not_damage(folder, monkeypatch):
    saved(folder, 10)
    checkpoints = Checkpoints(folder, IDENTITY, 3)

    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(checkpoints, "_restore", exhausted)
    with pytest.raises(MemoryError):
        checkpoints.restore_newest(abstract(lanes()))
    checkpoints.close()
    assert restore(folder, abstract(lanes()))[0] == 10


@pytest.mark.parametrize("saved_on, restored_on", [(4, 1), (1, 4), (2, 8)])
def test_another_number_of_devices(folder, saved_on, restored_on):
    """The arrays are placed as the restoring program wants them, with the same bits."""
    num_lanes = 8
    sharding = lambda count: parallel.lane_sharding(
        parallel.make_mesh(num_lanes, jax.devices()[:count])
    )
    checkpoints = Checkpoints(folder, IDENTITY, 2)
    checkpoints.save(5, jax.device_put(lanes(num_lanes, 5), sharding(saved_on)))
    checkpoints.close()
    step, tree, notices = restore(folder, abstract(lanes(num_lanes), sharding(restored_on)))
    assert step == 5 and notices == []
    assert_same(tree, lanes(num_lanes, 5))
    assert all(len(leaf.sharding.device_set) == restored_on for leaf in jax.tree.leaves(tree))


def test_the_rows_of_the_newest_sound_one_come_back(folder):
    rows = {step: [{"step": step, "arm": "plain", "w": [0.1, None]}] for step in (10, 20)}
    checkpoints = Checkpoints(folder, IDENTITY, 3)
    for step in rows:
        checkpoints.save(step, lanes(step=step), rows[step])
    checkpoints.close()
    damage(folder, 20)
    checkpoints = Checkpoints(folder, IDENTITY, 3)
    step, _, _ = checkpoints.restore_newest(abstract(lanes()))
    assert checkpoints.rows_at(step) == rows[10]
    checkpoints.close()


def test_reading_only_changes_nothing(folder):
    """Though the newest is damaged, and an unfinished save lies there."""
    saved(folder, 10, 20)
    damage(folder, 20)
    (folder / "30.orbax-checkpoint-tmp").mkdir()
    before = contents(folder)
    checkpoints = Checkpoints(folder, IDENTITY, 3, read_only=True)
    step, tree, notices = checkpoints.restore_newest(abstract(lanes()))
    checkpoints.close()
    assert step == 10 and len(notices) == 1
    assert_same(tree, lanes(step=10))
    assert contents(folder) == before and (folder / "30.orbax-checkpoint-tmp").is_dir()


def test_other_users_of_absl_keep_their_messages(folder):
    """Importing the module and saving change nothing of its logger, when a save has ended."""
    logger = logging.getLogger("absl")
    saved(folder, 10)
    assert not logger.filters and logger.level == logging.NOTSET
