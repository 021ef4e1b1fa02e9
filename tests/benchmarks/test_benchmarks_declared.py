"""The declared benchmarks: what they name exists, and their arithmetic is that of the programs."""

import ast
import importlib
import math
import pathlib

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params

import dgm_jax  # noqa: F401 - before the first computation
from benchmarks import arithmetic, contract, registry
from benchmarks.families import flows, hmc
from dgm_jax.parallel import places

ROOT = pathlib.Path(__file__).parents[2]
EVERYTHING = registry.all_benchmarks()
TRAINED = (
    "adversarial_variational_bayes",
    "dirac_gan",
    "discrete_vae",
    "flow_density",
    "gan_images",
    "gan_ring",
    "gumbel_vae",
    "transformer",
    "vae",
    "vqvae",
)


def sides():
    """{target: sets of option names} of all sides and checks."""
    found = {}
    for benchmark in EVERYTHING.values():
        for side in (*benchmark.sides.values(), benchmark.check):
            if side is not None:
                found.setdefault(side.target, set()).add(frozenset(side.options))
    return found


def test_every_target_is_a_function_that_takes_its_options():
    """Read, not imported: peers need PyTorch."""
    for target, options in sides().items():
        module, _, name = target.partition(":")
        path = ROOT.joinpath(*contract.FAMILIES.split("."), *module.split(".")).with_suffix(".py")
        (function,) = [
            node
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.FunctionDef) and node.name == name
        ]
        accepted = [argument.arg for argument in function.args.args]
        needed = set(accepted[: len(accepted) - len(function.args.defaults)])
        for given in options:
            assert needed <= given <= set(accepted), (target, given)


def test_the_step_of_every_family_is_measured_at_two_sizes_and_several_seeds():
    for family in TRAINED:
        own = [b for b in EVERYTHING.values() if b.family == family]
        assert sorted({b.seeds for b in own}) == [1, 8, 32]
        assert len({b.size for b in own}) >= 2


def test_a_peer_is_checked_or_it_is_said_why_not():
    for benchmark in EVERYTHING.values():
        assert (benchmark.check is None) == bool(benchmark.unchecked), benchmark.name
        assert next(iter(benchmark.sides.values())).role == contract.OURS


def test_one_seed_comes_before_several():
    seeds = [benchmark.seeds for benchmark in EVERYTHING.values()]
    assert seeds == sorted(seeds)


# Arithmetic, against XLA's own count and against a count over the traced programs.


def flops_of(function, *shapes):
    """XLA's count for the lowered program."""
    operands = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*operands).cost_analysis()["flops"]


def test_products_have_xlas_count():
    assert flops_of(jnp.matmul, (24, 40), (40, 56)) == arithmetic.product(24, 40, 56)


def test_convolutions_without_padding_have_xlas_count():
    order = ("NHWC", "HWIO", "NHWC")
    convolve = lambda x, w: jax.lax.conv_general_dilated(
        x, w, (1, 1), "VALID", dimension_numbers=order
    )
    expected = 5 * arithmetic.convolution(3, 4, 6, 8)
    assert flops_of(convolve, (5, 10, 10, 4), (3, 3, 4, 6)) == expected


def count(jaxpr):
    """Operations of all products in a traced program, loops of known length repeated.

    Of code for several platforms the last counts, that for platforms without a name.
    """
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            inner = math.prod(shape[axis] for axis in contracted)
            total += 2.0 * inner * math.prod(equation.outvars[0].aval.shape)
        insides = list(jaxprs_in_params(equation.params))
        if equation.params.get("branches_platforms"):
            insides = insides[-1:]
        for inside in insides:
            total += equation.params.get("length", 1) * count(inside)
    return total


SHAPES = [
    ("gan_ring", {"width": 24, "batch": 6}),
    ("vae", {"width": 20, "latent": 6, "batch": 4}),
    ("adversarial_variational_bayes", {"hidden": 20, "critic": 12, "batch": 4}),
    ("gumbel_vae", {"width": 20, "batch": 4}),
    ("transformer", {"width": 16, "layers": 2, "length": 9, "batch": 3}),
    ("flow_density", {"dim": 6, "hidden": 20, "batch": 4}),
    ("flow_density", {"dim": 6, "hidden": 20, "batch": 4, "bins": 5}),
]
# What a program has besides the work that its formula counts, for each example.
EXTRA = {
    # a pass over real examples that only some losses read; the compiler removes it
    "gan_ring": lambda shape: sum(arithmetic.dense((2, shape["width"], shape["width"], 1))),
}


@pytest.mark.parametrize("family, shape", SHAPES)
def test_the_step_of_a_family_has_the_operations_of_its_formula(family, shape):
    ours = importlib.import_module(f"{contract.FAMILIES}.{family}.ours")
    formula = importlib.import_module(f"{contract.FAMILIES}.{family}").flops
    task = ours.task(shape) if family == "gan_ring" else ours.task(**shape)
    rows = {"image": jnp.zeros((1_024, *event(family, shape)), jnp.int32)}

    algorithm, key = task.algorithm(), jax.random.key(0)
    train_state = jax.eval_shape(lambda key: algorithm.init(key, *task.init(key)), key)
    step = lambda now: algorithm.step(now, lambda index: task.draw(rows, now.data_key, index))
    traced = count(jax.make_jaxpr(step)(train_state).jaxpr)
    extra = shape["batch"] * EXTRA.get(family, lambda shape: 0.0)(shape)
    assert traced == pytest.approx(formula(**shape) + extra)


def event(family, shape):
    """Shape of an example."""
    return {"transformer": (shape.get("length"),), "flow_density": (shape.get("dim"),)}.get(
        family, (28, 28, 1)
    )


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("kind", flows.KINDS)
def test_a_flow_has_the_operations_of_its_formula(kind, direction):
    ours = importlib.import_module(f"{contract.FAMILIES}.flows.ours")
    run, params = ours.run(kind, direction, 6), ours.moved_params(kind, 6)
    traced = count(jax.make_jaxpr(run)(params, jnp.ones((3, 6))).jaxpr)
    assert traced == 3 * flows.flops(kind, direction, 6)


def test_a_transition_of_a_chain_has_the_operations_of_its_formula():
    from benchmarks.families.annealing import ours as annealed
    from benchmarks.families.hmc import ours

    params, (x, z) = annealed.decoder_params(), ours.start(images=2, chains=3)

    def operations(steps):
        run = lambda key: ours.moved(params, key, x, z, steps)
        return count(jax.make_jaxpr(run)(jax.random.key(0)).jaxpr)

    assert operations(2) - operations(1) == 2 * 3 * hmc.flops()


def test_a_peer_in_jax_makes_the_steps_of_all_seeds():
    from benchmarks.families._shared import engine

    step = lambda data, state: (state + data, 10 * state)  # counts by the datum
    start = jnp.array([0.0, 100.0])
    case = engine.repeated(step, start, jnp.array(2.0), seeds=2, steps=3)
    assert case.count == 6
    case.call()
    states, losses = case.call()  # goes on where the first call ended
    assert states.tolist() == [12.0, 112.0]
    assert losses.tolist() == [[60.0, 80.0, 100.0], [1060.0, 1080.0, 1100.0]]


def test_peers_are_declared_with_what_their_options_mark():
    of = lambda seeds: EVERYTHING[f"vae_small_{seeds}_seeds"].sides
    assert of(8)["torch eager"].options == of(1)["torch eager"].options  # one seed in any case
    assert of(8)["numpyro"].options["seeds"] == 8
    assert of(8)["numpyro"].target == "vae.numpyro_peer:train"
    assert [name for name, side in of(1).items() if side.slow] == ["torch compile"]


GUARDS = [None, "choosing_each", "not_looking"]


def test_steps_with_another_guard_are_the_same():
    from benchmarks.families.guard import ours

    shape, target = {"width": 8, "batch": 16}, "gan_ring.ours:engine"
    found = [ours.engine(target, guard, shape, seeds=1, steps=3).call()[0] for guard in GUARDS]
    kept, *others = (jax.tree.leaves(lanes.train_state.params) for lanes in found)
    for other in others:
        for mine, theirs in zip(kept, other, strict=True):
            assert jnp.allclose(mine, theirs, atol=1e-6) and jnp.isfinite(mine).all()


@pytest.mark.parametrize("guard, steps_made", list(zip(GUARDS, [0, 0, 3], strict=True)))
def test_what_another_guard_does_where_nothing_is_finite(guard, steps_made, monkeypatch):
    from benchmarks.families.guard import ours

    for module in (ours.engine_steps, ours.attempts):
        monkeypatch.setattr(module, "all_finite", lambda tree: jnp.array(False))
    shape, target = {"width": 8, "batch": 16}, "gan_ring.ours:engine"
    lane = ours.engine(target, guard, shape, seeds=1, steps=3).call()[0]
    assert lane.train_state.step.tolist() == [steps_made]


def test_a_guard_that_chooses_at_every_step_makes_no_attempts(monkeypatch):
    from benchmarks.families.guard import ours

    def refused(*states):
        raise AssertionError("an attempt")

    monkeypatch.setattr(ours.attempts, "try_steps", refused)
    shape, target = {"width": 8, "batch": 16}, "gan_ring.ours:engine"
    case = ours.engine(target, "choosing_each", shape, seeds=1, steps=3)
    assert case.call()[0].train_state.step.tolist() == [3]
    with pytest.raises(AssertionError, match="an attempt"):
        ours.engine(target, None, shape, seeds=1, steps=3)


@pytest.mark.parametrize("strategy", ["auto", "map"])
def test_a_group_is_trained_by_the_strategy_that_a_side_names(strategy, monkeypatch):
    """Each seed's parameters are those of the seed alone, up to rounding."""
    from benchmarks.families.groups import ours

    used = []
    over_seeds = places.over_seeds

    def noted(function, strategy):
        used.append(strategy)
        return over_seeds(function, strategy)

    monkeypatch.setattr(places, "over_seeds", noted)
    common = {"target": "gan_ring.ours:engine", "shape": {"width": 8, "batch": 16}, "steps": 3}
    alone = ours.engine(strategy=strategy, seeds=1, **common).call()[0]
    group = ours.engine(strategy=strategy, seeds=4, **common)
    assert group.count == 12
    assert ("vmap" in used) == (strategy == "auto")  # keys and initial states are always by map
    params = jax.tree.leaves(group.call()[0].train_state.params)
    for mine, of_all in zip(jax.tree.leaves(alone.train_state.params), params, strict=True):
        assert of_all.shape == (4, *mine.shape[1:])
        assert jnp.allclose(mine[0], of_all[0], atol=1e-6)
    assert any(jnp.abs(leaf[0] - leaf[1]).max() > 0.01 for leaf in params)


def test_a_group_is_measured_beside_a_seed_alone():
    groups = [b for b in EVERYTHING.values() if b.family == "groups"]
    assert {"group_gan_ring_small", "group_vae_large"} <= {b.name for b in groups}
    for benchmark in groups:
        seeds = {name: side.options["seeds"] for name, side in benchmark.sides.items()}
        assert seeds.pop("a seed alone") == 1 and set(seeds.values()) == {benchmark.seeds}
        targets = {side.options["target"] for side in benchmark.sides.values()}
        assert len(targets) == 1
