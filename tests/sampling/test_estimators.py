"""Every gradient estimator against enumeration, and the properties that single ones promise."""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from dgm_jax import sampling
from dgm_jax.core import ConfigError
from dgm_jax.sampling import estimators
from dgm_jax.sampling.estimators import (
    DIFFERENTIATES_OBJECTIVE,
    ESTIMATORS,
    HAS_TEMPERATURE,
    UNBIASED,
    expectation,
)
from dgm_jax.sampling.gumbel import conditional_perturbed_logits, perturbed_logits

KEY = jax.random.key(77)
# compiles twice as fast
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def random_problem(shape, seed=0):
    """Logits[*E, K] and an objective that is neither affine nor quadratic, on the whole simplex."""
    rng = np.random.default_rng(seed)
    weights = jnp.asarray(rng.normal(size=(3, *shape)), jnp.float32)
    axes = tuple(range(-len(shape), 0))

    def objective(x):
        first, second, third = (jnp.sum(w * x, axis=axes) for w in weights)
        return jnp.sin(2 * first) + second**3 / 2 + first * third + 1.5

    return objective, jnp.asarray(rng.normal(size=shape), jnp.float32)


def enumerated(objective, logits):
    """float64 value and gradient of E[objective], configuration by configuration, without the
    library."""
    logits = np.asarray(logits, np.float64)
    rows = logits.reshape(-1, logits.shape[-1])
    p = np.exp(rows) / np.exp(rows).sum(-1, keepdims=True)
    value, gradient = 0.0, np.zeros_like(rows)
    configurations = list(itertools.product(range(rows.shape[1]), repeat=rows.shape[0]))
    points = np.stack([np.eye(rows.shape[1])[list(c)] for c in configurations])
    f = np.asarray(
        objective(jnp.asarray(points.reshape(-1, *logits.shape), jnp.float32)), np.float64
    )
    for x, fx in zip(points, f, strict=True):
        weight = np.prod((p * x).sum(-1))
        value += weight * fx
        gradient += weight * fx * (x - p)
    return value, gradient.reshape(logits.shape)


def within(samples, truth, bound=4.5):
    """Every coordinate of the mean of samples[N, ...] lies within `bound` standard errors of the
    truth."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(0) / np.sqrt(len(samples)) + 1e-6
    return bool(np.all(np.abs(samples.mean(0) - truth) < bound * error))


def run_all(names, objective, logits, keys, **options):
    """{name: estimates, one a key} in one compiled program."""
    return compiled(
        jax.vmap(
            lambda key: {
                name: ESTIMATORS[name](key, objective, logits, **options) for name in names
            }
        )
    )(keys)


@pytest.mark.parametrize("shape", [(2,), (3,), (4,), (5,), (2, 3)])
def test_unbiased_estimators_agree_with_enumeration(shape):
    objective, logits = random_problem(shape, seed=sum(shape))
    value, gradient = enumerated(objective, logits)
    estimates = run_all(UNBIASED, objective, logits, jax.random.split(KEY, 60_000))
    for name in UNBIASED - {"exact"}:
        assert estimates[name].gradient.shape == (60_000, *shape)
        assert within(estimates[name].gradient, gradient), f"{name}: gradient"
        assert within(estimates[name].value, value), f"{name}: value"
    np.testing.assert_allclose(estimates["exact"].gradient[0], gradient, atol=2e-6)
    np.testing.assert_allclose(estimates["exact"].value[0], value, rtol=1e-6)


def test_the_check_above_sees_the_biased_estimators():
    objective, logits = random_problem((3,), seed=3)
    _, gradient = enumerated(objective, logits)
    names = sorted(set(ESTIMATORS) - UNBIASED)
    for name, estimates in run_all(names, objective, logits, jax.random.split(KEY, 60_000)).items():
        assert not within(estimates.gradient, gradient), name


def test_gumbel_softmax_is_the_gradient_of_the_relaxed_expectation():
    """E[f(y)] for K = 2 by quadrature over the logistic noise, differentiated by central
    differences in float64."""
    temperature, logits = 0.7, np.array([0.4, -0.3])
    u = (np.arange(400_000) + 0.5) / 400_000
    noise = np.log(u) - np.log1p(-u)

    def relaxed(difference):
        y = 1 / (1 + np.exp(-(difference + noise) / temperature))
        return np.mean(np.cos(3 * y) + y**3)

    slope = (relaxed(0.7 + 1e-3) - relaxed(0.7 - 1e-3)) / 2e-3
    run = compiled(
        jax.vmap(
            lambda key: ESTIMATORS["gumbel_softmax"](
                key,
                lambda x: jnp.cos(3 * x[..., 0]) + x[..., 0] ** 3,
                jnp.asarray(logits, jnp.float32),
                temperature=temperature,
            )
        )
    )
    estimates = run(jax.random.split(KEY, 60_000))
    assert within(estimates.gradient, np.array([slope, -slope]))
    assert within(estimates.value, relaxed(0.7))


@functools.cache
def with_masked_class():
    """All estimators on four classes, one of them masked (the objective is NaN there), mapped over
    keys and alone."""
    objective, logits = random_problem((4,))[0], jnp.array([0.3, -jnp.inf, -0.4, 0.9])
    poisoned = lambda x: objective(x) + jnp.where(x[..., 1] == 1, jnp.nan, 0.0)
    _, gradient = enumerated(
        lambda x: objective(jnp.insert(x, 1, 0.0, axis=-1)), logits[jnp.array([0, 2, 3])]
    )
    keys = jax.random.split(KEY, 5000)
    alone = compiled(
        lambda key: {name: ESTIMATORS[name](key, poisoned, logits) for name in ESTIMATORS}
    )
    return (
        run_all(ESTIMATORS, poisoned, logits, keys),
        [alone(key) for key in keys[:3]],
        np.insert(gradient, 1, 0.0),
    )


@pytest.mark.parametrize("name", ESTIMATORS)
def test_contract(name):
    """One signature; float32 results of the right shape for any dtype; a mapped estimate is the
    estimate alone."""
    objective, logits = random_problem((3,))
    estimator = ESTIMATORS[name]
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        estimate = jax.eval_shape(
            lambda logits: estimator(KEY, objective, logits), logits.astype(dtype)
        )
        assert estimate.value.shape == () and estimate.gradient.shape == (3,)
        assert estimate.value.dtype == estimate.gradient.dtype == jnp.float32
    mapped, alone, _ = with_masked_class()
    for i, one in enumerate(alone):
        np.testing.assert_allclose(
            mapped[name].gradient[i], one[name].gradient, rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(mapped[name].value[i], one[name].value, rtol=1e-4)
    # The gradient of an expectation does not see a shift of all logits.
    np.testing.assert_allclose(jnp.sum(mapped[name].gradient, -1), 0, atol=1e-4)
    parameters = inspect.signature(estimator).parameters
    assert list(parameters)[:3] == ["key", "objective", "logits"]
    assert all(
        p.kind == p.KEYWORD_ONLY and p.default is not p.empty for p in list(parameters.values())[3:]
    )
    assert ("temperature" in parameters) == (name in HAS_TEMPERATURE)
    assert name == "exact" or "num_samples" in parameters
    assert estimator is getattr(estimators, name) and inspect.getdoc(estimator)


@functools.cache
def total_variances(num_samples):
    names = sorted(set(ESTIMATORS) - {"exact"})
    estimates = run_all(
        names, *random_problem((3,)), jax.random.split(KEY, 4000), num_samples=num_samples
    )
    return {name: np.asarray(estimates[name].gradient).var(0).sum() for name in names}


@pytest.mark.parametrize("name", sorted(set(ESTIMATORS) - {"exact"}))
def test_more_samples_lower_the_variance(name):
    # Independent samples give 1/8; leaving one out gains a little more, a baseline that starts late
    # somewhat more.
    assert 0.02 < total_variances(16)[name] / total_variances(2)[name] < 0.16


@pytest.mark.parametrize("name", ESTIMATORS)
def test_masked_classes_have_no_gradient_and_change_nothing_else(name):
    estimates, _, gradient = with_masked_class()
    assert np.all(np.isfinite(estimates[name].gradient)) and np.all(
        np.isfinite(estimates[name].value)
    )
    np.testing.assert_array_equal(estimates[name].gradient[:, 1], 0)
    if name in UNBIASED:
        assert within(estimates[name].gradient, gradient)


def test_affine_objectives():
    """MuProp and straight-through have no variance at all; the relaxed kinds are biased even
    here."""
    slope, logits = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.2, -0.6, 1.0])
    objective = lambda x: jnp.sum(x * slope, -1) + 3.0
    _, gradient = enumerated(objective, logits)
    keys = jax.random.split(KEY, 20_000)
    for name, estimates in run_all(
        sorted(DIFFERENTIATES_OBJECTIVE), objective, logits, keys
    ).items():
        if name in ("muprop", "straight_through"):
            expected = np.broadcast_to(gradient, estimates.gradient.shape)
            np.testing.assert_allclose(estimates.gradient, expected, atol=3e-6)
        assert within(estimates.gradient, gradient) == (
            name in UNBIASED | {"straight_through", "reinmax"}
        ), name


def test_rebar_is_the_textbook_estimator_differentiated_by_hand():
    """The closed form against autodiff through z and z~ at coupled noise, in float64."""
    with jax.enable_x64(True):
        weights, logits = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4)))
        objective = lambda x: jnp.sin(2 * jnp.sum(x * weights, -1)) + jnp.sum(x * weights, -1) ** 2
        control = lambda z: objective(jax.nn.softmax(z / 0.4)) * 0.8

        def textbook(key):
            z = sampling.perturbed_logits(key, logits[None])[0]
            winner = jnp.argmax(z)
            x, p = jax.nn.one_hot(winner, 4), jax.nn.softmax(logits)
            # logits_k + G_k before the cut
            free = -jnp.log(jnp.exp(-z) - jnp.exp(-z[winner])).at[winner].set(0.0)

            def conditional(moved):
                largest = z[winner] + jax.nn.logsumexp(moved) - jax.nn.logsumexp(logits)
                cut = -jnp.log(jnp.exp(-(free + moved - logits)) + jnp.exp(-largest))
                return jnp.where(x == 1, largest, cut)

            through_z = jax.grad(lambda moved: control(moved + (z - logits)))(logits)
            through_tilde = jax.grad(lambda moved: control(conditional(moved)))(logits)
            return (
                (objective(x) - control(z)) * (x - p) + through_z - through_tilde,
                conditional(logits),
                z,
            )

        def closed_form(key):
            return ESTIMATORS["rebar"](key, objective, logits, temperature=0.4, scale=0.8).gradient

        keys = jax.random.split(KEY, 20)
        expected, tilde, z = compiled(jax.vmap(textbook))(keys)
        np.testing.assert_allclose(tilde, z, rtol=1e-9)
        np.testing.assert_allclose(
            compiled(jax.vmap(closed_form))(keys), expected, rtol=1e-7, atol=1e-9
        )


def test_control_variates_lower_the_variance_and_can_be_tuned():
    """sum(gradient**2) is differentiable in the options of REBAR, and descending it lowers the
    variance."""
    weights, logits = jnp.array([0.2, 1.0, -0.6]), jnp.array([0.3, -0.2, 0.1])
    objective = lambda x: (jnp.sum(x * weights, -1) + 1.0) ** 2
    keys = jax.random.split(KEY, 5000)

    def second_moment(options):
        samples = jax.vmap(lambda k: ESTIMATORS["rebar"](k, objective, logits, **options).gradient)(
            keys
        )
        return jnp.mean(jnp.sum(samples**2, -1))

    value_and_slope = compiled(jax.value_and_grad(second_moment))
    options = {"scale": jnp.float32(0.0), "temperature": jnp.float32(0.5)}
    without, slope = value_and_slope(options)
    plain = run_all(["score_function"], objective, logits, keys)["score_function"].gradient
    # scale 0 is the score function
    np.testing.assert_allclose(without, jnp.mean(jnp.sum(plain**2, -1)), rtol=1e-3)
    for _ in range(20):
        options = jax.tree.map(lambda x, d: x - d / without * 0.2, options, slope)
        tuned, slope = value_and_slope(options)
    assert tuned < 0.5 * without and options["scale"] > 0.3


def test_relax_takes_a_control_with_parameters():
    objective, logits = random_problem((3,), seed=2)
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(3, 8)), jnp.float32)
    network = lambda phi: lambda z: jnp.sum(jnp.tanh(jnp.sum(z[..., None] * weights, -2)) * phi, -1)
    keys = jax.random.split(KEY, 40_000)

    def sample(phi):
        return jax.vmap(
            lambda k: ESTIMATORS["relax"](k, objective, logits, control=network(phi)).gradient
        )(keys)

    run = compiled(sample)
    _, gradient = enumerated(objective, logits)
    for phi in (jnp.zeros(8), jnp.linspace(-1, 1, 8)):
        assert within(run(phi), gradient)
    slope = compiled(jax.grad(lambda phi: jnp.mean(sample(phi) ** 2)))(jnp.zeros(8))
    assert np.abs(slope).max() > 1e-3 and np.mean(run(-0.1 * slope) ** 2) < np.mean(
        run(jnp.zeros(8)) ** 2
    )


def test_vimco_is_leave_one_out_for_the_mean_and_the_multi_sample_bound_otherwise():
    objective, logits = random_problem((3,), seed=8)
    keys = jax.random.split(KEY, 50)
    for n in (2, 5):
        got, same = run_all(
            ["vimco", "score_function_leave_one_out"], objective, logits, keys, num_samples=n
        ).values()
        np.testing.assert_allclose(got.gradient, same.gradient, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(got.value, same.value, rtol=1e-6)
    # All triples: x[*B, 3, K] with one row of logits each; the gradients of the three rows add up.
    bound = lambda x: jax.nn.logsumexp(objective(x), axis=-1) - jnp.log(3.0)
    value, gradient = enumerated(bound, jnp.broadcast_to(logits, (3, 3)))
    estimates = compiled(
        jax.vmap(
            lambda k: ESTIMATORS["vimco"](
                k, objective, logits, num_samples=3, multi_sample="log_mean_exp"
            )
        )
    )(jax.random.split(KEY, 60_000))
    assert within(estimates.gradient, gradient.sum(0)) and within(estimates.value, value)
    assert value > enumerated(objective, logits)[0]


def test_nvil_uses_the_running_mean_of_earlier_samples():
    logits = jnp.array([0.4, -0.2, 0.0])
    constant = lambda x: jnp.full(x.shape[:-1], 7.0)
    x = np.asarray(estimators.estimate.draw_one_hot(KEY, logits, 4), np.float64)
    score = x - np.asarray(jax.nn.softmax(logits), np.float64)
    got = ESTIMATORS["nvil"](KEY, constant, logits, num_samples=4).gradient
    # only the first sample has no baseline
    np.testing.assert_allclose(got, 7 * score[0] / 4, rtol=1e-5)
    got = ESTIMATORS["nvil"](KEY, constant, logits, num_samples=4, baseline=7.0).gradient
    np.testing.assert_allclose(got, 0, atol=1e-5)
    f, running, expected = np.array([1.0, 5.0, -2.0]), 0.5, np.zeros(3)
    for i in range(4):
        value = x[i] @ f
        expected += (value - running) * score[i] / 4
        running = 0.9 * running + 0.1 * value
    linear = lambda y: jnp.sum(y * jnp.asarray(f, jnp.float32), -1)
    got = ESTIMATORS["nvil"](KEY, linear, logits, num_samples=4, decay=0.9, baseline=0.5)
    np.testing.assert_allclose(got.gradient, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["score_function_leave_one_out", "disarm"])
def test_a_constant_is_cancelled(name):
    estimate = ESTIMATORS[name](
        KEY, lambda x: jnp.full(x.shape[:-1], 5.0), jnp.array([0.1, 0.9, -1.0]), num_samples=4
    )
    np.testing.assert_allclose(estimate.gradient, 0, atol=1e-6)
    assert estimate.value == 5.0


@pytest.mark.parametrize("name", ["exact", "score_function_leave_one_out", "rebar", "disarm"])
def test_expectation_differentiates_in_encoder_and_decoder(name):
    """d/dparams E_{x ~ softmax(params @ h)}[f(x; decoder)] against the derivative of the enumerated
    sum."""
    h = jnp.array([0.5, -1.0])
    params = {
        "encoder": jnp.array([[0.3, 0.1], [-0.2, 0.8], [0.0, -0.5]]),
        "decoder": jnp.array([1.0, -0.7, 0.4]),
    }

    def of(x, decoder):
        return jnp.sin(jnp.sum(x * decoder, -1)) + jnp.sum(x * decoder, -1) ** 2

    def summed(params):
        return jax.nn.softmax(params["encoder"] @ h) @ of(jnp.eye(3), params["decoder"])

    def loss(params, key):
        return expectation(
            ESTIMATORS[name], key, lambda x: of(x, params["decoder"]), params["encoder"] @ h
        )

    truth = jax.grad(summed)(params)
    keys = jax.random.split(KEY, 50_000)
    values, samples = compiled(jax.vmap(jax.value_and_grad(loss), (None, 0)))(params, keys)
    for part in params:
        assert within(samples[part], truth[part], bound=5.0), part
    alone = run_all([name], lambda x: of(x, params["decoder"]), params["encoder"] @ h, keys)[
        name
    ].value
    np.testing.assert_allclose(values, alone, rtol=1e-4, atol=1e-6)


PATHWISE = {
    "straight_through": {},
    "gumbel_softmax": {"temperature": 0.6},
    "straight_through_gumbel_softmax": {"temperature": 0.6},
    "gumbel_rao": {"temperature": 0.6, "num_conditional": 5},
    "reinmax": {"temperature": 1.4},
}


def pathwise_reference(name, logits, slope, *, temperature=1.0, num_conditional=1):
    """The docstring's formula in float64, of the draws that KEY gives, three of them."""

    def jacobian_times(p, cotangent):
        matrix = np.einsum("...k,kl->...kl", p, np.eye(p.shape[-1])) - np.einsum(
            "...k,...l->...kl", p, p
        )
        return np.einsum("...kl,...l->...k", matrix, cotangent)

    key_hard, key_conditional = jax.random.split(KEY)
    z = perturbed_logits(
        key_hard if name == "gumbel_rao" else KEY, jnp.broadcast_to(logits, (3, *logits.shape))
    )
    x = np.eye(logits.shape[-1])[np.argmax(z, -1)]
    p = special.softmax(np.asarray(logits, np.float64), -1)
    if name == "straight_through":
        return x, jacobian_times(p, slope(x)).mean(0)
    if name == "reinmax":
        q = special.softmax(np.asarray(logits, np.float64) / temperature, -1)
        terms = 2 * jacobian_times((x + q) / 2, slope(x)) - jacobian_times(p, slope(x)) / 2
        return x, terms.mean(0)
    if name == "gumbel_rao":
        shape = (num_conditional, *x.shape)
        index = np.broadcast_to(np.argmax(x, -1), shape[:-1])
        z = conditional_perturbed_logits(key_conditional, jnp.broadcast_to(logits, shape), index)
    y = special.softmax(np.asarray(z, np.float64) / temperature, -1)
    x = y if name == "gumbel_softmax" else x
    terms = jacobian_times(y, np.broadcast_to(slope(x), y.shape)) / temperature
    return x, terms.reshape(-1, *logits.shape).mean(0)


@pytest.mark.parametrize("shape", [(4,), (2, 3)])
@pytest.mark.parametrize("name", PATHWISE)
def test_pathwise_estimators_and_expectation_are_their_formulas(name, shape):
    rng = np.random.default_rng(3)
    logits = jnp.asarray(rng.normal(size=shape), jnp.float32)
    weights = rng.normal(size=shape)
    axes = tuple(range(1, len(shape) + 1))

    def objective(x, scale=1.0):
        return scale * jnp.sum(jnp.asarray(weights, jnp.float32) * x**3, axes)

    slope = lambda x: 3 * weights * x**2
    x, expected = pathwise_reference(name, logits, slope, **PATHWISE[name])
    value = np.sum(weights * x**3, axes).mean()
    options = {**PATHWISE[name], "num_samples": 3}
    found = ESTIMATORS[name](KEY, objective, logits, **options)
    np.testing.assert_allclose(found.gradient, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.value, value, rtol=1e-4, atol=1e-5)

    def loss(logits, scale):
        return expectation(name, KEY, lambda x: objective(x, scale), logits, **options)

    got, (of_logits, of_scale) = jax.value_and_grad(loss, (0, 1))(logits, 2.0)
    np.testing.assert_allclose(got, 2 * value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_logits, 2 * expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_scale, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PATHWISE)
def test_expectation_differentiates_the_objective_once_for_encoder_and_decoder(name):
    """A decoder of one product: forward, the gradient of its weights, that of its input."""

    def loss(logits, weights):
        objective = lambda x: jnp.sum(jnp.sin(x @ weights), -1)
        return expectation(name, KEY, objective, logits, **PATHWISE[name])

    traced = jax.make_jaxpr(jax.grad(loss, (0, 1)))(jnp.zeros(3), jnp.ones((3, 4)))
    assert str(traced).count("dot_general[") == 3


def test_expectation_with_masked_logits_is_finite():
    logits = jnp.array([0.5, -jnp.inf, 0.0])
    objective = lambda x: jnp.sum(x * jnp.arange(3.0), -1)
    value, gradient = jax.value_and_grad(
        lambda logits: expectation(ESTIMATORS["exact"], KEY, objective, logits)
    )(logits)
    np.testing.assert_allclose(value, 2 * jax.nn.sigmoid(-0.5), rtol=1e-6)
    np.testing.assert_allclose(gradient[1], 0)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    "call, match",
    [
        (
            lambda f, logits: ESTIMATORS["score_function"](KEY, lambda x: x, logits),
            "one number for each leading index",
        ),
        (
            lambda f, logits: ESTIMATORS["rebar"](KEY, f, logits, temperature=0.0),
            "temperature must be positive",
        ),
        (
            lambda f, logits: ESTIMATORS["gumbel_rao"](KEY, f, logits, temperature=-1.0),
            "temperature must be positive",
        ),
        (
            lambda f, logits: ESTIMATORS["gumbel_rao"](KEY, f, logits, num_conditional=0),
            "num_conditional must be at least 1",
        ),
        (
            lambda f, logits: ESTIMATORS["reinmax"](KEY, f, logits, temperature=0),
            "temperature must be positive",
        ),
        (
            lambda f, logits: ESTIMATORS["score_function_leave_one_out"](
                KEY, f, logits, num_samples=1
            ),
            "num_samples >= 2",
        ),
        (
            lambda f, logits: ESTIMATORS["vimco"](KEY, f, logits, multi_sample="sum"),
            "multi_sample must be",
        ),
        (lambda f, logits: ESTIMATORS["nvil"](KEY, f, logits, decay=1.0), "decay must be in"),
        (
            lambda f, logits: ESTIMATORS["disarm"](KEY, f, logits, num_samples=0),
            "num_samples must be at least 1",
        ),
        (
            lambda f, logits: ESTIMATORS["exact"](KEY, f, jnp.zeros((20, 3))),
            "more than max_configurations",
        ),
        (
            lambda f, logits: ESTIMATORS["exact"](KEY, f, jax.nn.softmax(jnp.arange(3.0))),
            "look like probabilities",
        ),
    ],
)
def test_bad_arguments(call, match):
    objective, logits = random_problem((3,))
    with pytest.raises(ConfigError, match=match):
        call(objective, logits)
