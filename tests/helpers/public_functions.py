"""Small calls of every public function of the rooms of the lecture, by name.

A call takes a namespace of small arrays, all of one floating type, and returns a tree of arrays.
`CALLS` are functions of their input; of those in `DRAWS` the type decides about the random numbers,
so that only type, shape and finiteness can be compared. `EXCEPTIONS` says why a name has no call.
"""

import importlib
import inspect
import types

import jax
import jax.numpy as jnp
import numpy as np

from dgm_jax import core, densities, evaluation, flows, likelihood, objectives, priors, sampling
from dgm_jax import quantization as quant
from dgm_jax.core import RunningMoments
from dgm_jax.densities.posteriors import POSTERIORS
from dgm_jax.evaluation import DiscriminatorGrid
from dgm_jax.likelihood import Settings
from dgm_jax.objectives import path_derivatives
from dgm_jax.quantization import codebook_ema, finite_scalar
from dgm_jax.sampling.estimators import ESTIMATORS, expectation

ROOMS = (
    "core",
    "densities",
    "evaluation",
    "flows",
    "likelihood",
    "objectives",
    "priors",
    "quantization",
    "sampling",
)
KEY = jax.random.key(0)
CODES = np.array([0, 2, 1, 2])
BITS = np.array([0, 1, 1, 0])
WIDTH = 4  # of rows, logits, events
SETTINGS = Settings(num_steps=3, num_chains=2, num_leapfrog=1, num_knots=2, num_pilot=2)


def inputs() -> dict[str, np.ndarray]:
    """The arrays of the calls in float64, rounded to what bfloat16 and float16 both hold."""
    rng = np.random.default_rng(0)
    shapes = {"x": (4, 4), "y": (4, 4), "logits": (4, 4), "other": (4, 4), "draws": (3, 4, 4)}
    found = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    found |= {
        "scale": np.exp(0.3 * found["x"]),
        "many": 3 + rng.normal(size=(300,)),
        "more": 2 + rng.normal(size=(300,)),
        "most": 1 + rng.normal(size=(300,)),
        "wide": 100 * rng.normal(size=(64, 4)),
        "unit": rng.uniform(0.1, 0.9, size=(4, 4)),
        "codebook": rng.normal(size=(3, 4)),
        "codebooks": rng.normal(size=(2, 3, 4)),
        "heads": rng.normal(size=(2, 3, 2)),
        "vector": rng.normal(size=(4,)),
        "plane": rng.normal(size=(4, 2)),
        "ten": 0.3 * rng.normal(size=(4, 10)),
        "real": rng.normal(size=(12, 3)),
        "fake": rng.normal(size=(11, 3)) + 0.5,
        "square": rng.normal(size=(4, 4)) - 1,
        "raw": rng.normal(size=(4, 4, 8)),
    }
    return {name: np.asarray(jnp.asarray(x, jnp.bfloat16), np.float64) for name, x in found.items()}


def _log_softmax(x):
    return jax.nn.log_softmax(core.at_least_float32(x), axis=-1)


def _quadratic(x):
    return jnp.sum(jnp.square(x - 0.3), axis=tuple(range(1, x.ndim)))


def _both_ways(make, *arguments, **options):
    """Forwards, and back from there, with parameters of the input's type, off the identity."""

    def call(a):
        bijection = make(*arguments, **options)
        shapes = jax.eval_shape(bijection.init, KEY)
        leaves, tree = jax.tree.flatten(shapes)
        values = [_ramp(leaf.shape, a.x.dtype) for leaf in leaves]
        params = jax.tree.unflatten(tree, values)
        y, log_det = bijection.forward_and_log_det(params, a.x)
        return y, log_det, bijection.inverse_and_log_det(params, a.y)

    return call


def _ramp(shape, dtype):
    """Numbers of small size, none of them zero, which every type holds."""
    values = 0.4 + 0.2 * np.sin(1.0 + np.arange(int(np.prod(shape))))
    return jnp.asarray(jnp.asarray(values, jnp.bfloat16), dtype).reshape(shape)


def _prior(make, *arguments, **options):
    def call(a):
        prior = make(*arguments, **options)
        shapes = jax.eval_shape(prior.init, KEY)
        params = jax.tree.map(lambda leaf: _ramp(leaf.shape, a.x.dtype), shapes)
        return prior.log_prob(params, a.x)

    return call


def _bounds(function):
    """A bound of `path_derivatives` with a Gaussian posterior."""

    def call(a):
        log_joint = lambda z: -jnp.sum(jnp.square(core.at_least_float32(z)), axis=-1)
        posterior = (a.x, a.scale)
        return function(a.draws, posterior, log_joint, path_derivatives.gaussian_log_q)

    return call


def _critic(x):
    return jnp.sum(jnp.sin(x) * x, axis=tuple(range(1, x.ndim)))


def _path():
    return likelihood.from_prior(
        lambda key, n: core.normal(key, (n, 2)),
        lambda z: -jnp.sum(jnp.square(z), axis=-1) / 2,
        lambda x, z: -jnp.sum(jnp.square(x - z), axis=-1) / 2,
    )


def _state(a):
    return codebook_ema.init(a.codebook)


def _grid(a):
    log_p, log_q = _log_softmax(a.logits[0]), _log_softmax(a.other[0])
    return DiscriminatorGrid(a.plane, log_p, log_q, jnp.ones(4, bool))


def _estimate(a):
    return likelihood.LogProbEstimate(a.vector, jnp.abs(a.vector))


def _quantizer(quantizer):
    def call(a):
        rows = a.x[:, : quantizer.width]
        params, state = quantizer.init(KEY, core.at_least_float32(rows))
        found = quantizer.quantize(params, state, rows)
        return found, quantizer.update(KEY, state, rows, found)

    return call


d, o, q, s = densities, objectives, quant, sampling

CALLS = {
    "core.all_finite": lambda a: core.all_finite(vars(a)),
    "core.at_least_float32": lambda a: core.at_least_float32(a.x),
    "core.chunked": lambda a: core.chunked(jnp.tanh, a.x, 3),
    "core.compensated_add": lambda a: core.compensated_add(a.x, a.x * 0, a.y),
    "core.effective_sample_size": lambda a: core.effective_sample_size(a.logits),
    "core.even_chunks": lambda a: core.even_chunks(a.x, 3, 0),
    "core.exp_remainder": lambda a: core.exp_remainder(a.x),
    "core.log_mean_exp": lambda a: core.log_mean_exp(a.many),
    "core.select_tree": lambda a: core.select_tree(jnp.array(True), a.x, a.y),
    "core.streamed_log_sum_exp": lambda a: core.streamed_log_sum_exp(
        lambda chunk: core.at_least_float32(chunk), a.x, core.at_least_float32(a.vector)
    ),
    "core.widened": lambda a: core.widened(a.x, a.y),
    "core.RunningMoments": lambda a: RunningMoments.empty().merge(a.many)[1:],
    "densities.bernoulli.log_prob": lambda a: d.bernoulli.log_prob(BITS, a.logits),
    "densities.bernoulli.entropy": lambda a: d.bernoulli.entropy(a.logits),
    "densities.bernoulli.kl": lambda a: d.bernoulli.kl(a.logits, a.other),
    "densities.aggregate.log_prob": lambda a: d.aggregate.log_prob(a.wide, a.x, a.scale),
    "densities.aggregate.log_marginals": (
        lambda a: d.aggregate.log_marginals(a.wide, a.x, a.scale)
    ),
    "densities.categorical.log_prob": lambda a: d.categorical.log_prob(CODES, a.logits),
    "densities.categorical.entropy": lambda a: d.categorical.entropy(a.logits),
    "densities.categorical.kl": lambda a: d.categorical.kl(a.logits, a.other),
    "densities.categorical.kl_to_uniform": lambda a: d.categorical.kl_to_uniform(a.logits),
    "densities.concrete.log_prob": lambda a: d.concrete.log_prob(a.x, a.logits, 0.5),
    "densities.discretized_logistic.log_prob": lambda a: d.discretized_logistic.log_prob(
        CODES, a.x, a.y
    ),
    "densities.gaussian.log_prob": lambda a: d.gaussian.log_prob(a.wide[:4], a.x, a.scale),
    "densities.gaussian.kl": lambda a: d.gaussian.kl(a.x, a.scale, a.y, 1.5),
    "densities.gaussian.entropy": lambda a: d.gaussian.entropy(a.scale),
    "densities.kernel_density.log_prob": lambda a: d.kernel_density.log_prob(a.x, a.wide, 2.0),
    "densities.logit_laplace.log_prob": lambda a: d.logit_laplace.log_prob(a.unit, a.x, a.y),
    "densities.logit_laplace.shrink": lambda a: d.logit_laplace.shrink(a.unit),
    "densities.logit_laplace.reconstruct": lambda a: d.logit_laplace.reconstruct(a.x),
    "densities.mixture.log_prob": lambda a: d.mixture.log_prob(
        a.wide, _log_softmax(a.vector[:3]), a.codebook, 0.7
    ),
    "densities.mixture.component_log_prob": lambda a: d.mixture.component_log_prob(
        a.wide, a.codebook, 0.7
    ),
    "densities.posteriors.rosenbrock_posterior": lambda a: d.posteriors.rosenbrock_posterior(
        a.plane
    ),
    "densities.posteriors.torus": lambda a: d.posteriors.torus(a.plane),
    "densities.posteriors.eight_schools": lambda a: d.posteriors.eight_schools(a.ten),
    "densities.posteriors.eight_schools_quantities": (
        lambda a: d.posteriors.eight_schools_quantities(a.ten)
    ),
    "densities.posteriors.eight_schools_plane": (
        lambda a: d.posteriors.eight_schools_plane(jnp.abs(a.plane))
    ),
    "densities.posteriors.eight_schools_given_plane": (
        lambda a: d.posteriors.eight_schools_given_plane(a.plane)
    ),
    "evaluation.discriminator_distances": (
        lambda a: evaluation.discriminator_distances(a.vector, _grid(a), 1.0)
    ),
    "evaluation.frechet_distance_on_device": (
        lambda a: evaluation.frechet_distance_on_device(real=a.real, fake=a.fake)
    ),
    "evaluation.kernel_distance": lambda a: evaluation.kernel_distance(real=a.real, fake=a.fake),
    "evaluation.merge_moments": lambda a: evaluation.merge_moments(
        evaluation.moments(a.real), evaluation.moments(a.fake)
    ),
    "evaluation.moments": lambda a: evaluation.moments(a.real),
    "evaluation.mode_coverage": lambda a: evaluation.mode_coverage(
        a.real, np.array([[0.0, 0.0, 0.0], [5.0, 5.0, 5.0]]), 1.0
    ),
    "evaluation.precision_recall_density_coverage": (
        lambda a: evaluation.precision_recall_density_coverage(real=a.real, fake=a.fake)
    ),
    "flows.act_norm": _both_ways(flows.act_norm, WIDTH),
    "flows.act_norm_from_data": lambda a: flows.act_norm_from_data(a.wide),
    "flows.affine": _both_ways(flows.affine, WIDTH),
    "flows.affine_coupling": _both_ways(flows.affine_coupling, WIDTH, hidden=(4,)),
    "flows.autoregressive_flow": _both_ways(flows.autoregressive_flow, WIDTH, hidden=(4,)),
    "flows.batch_norm": _both_ways(flows.batch_norm, WIDTH),
    "flows.batch_norm_train": lambda a: flows.batch_norm_train(
        {"mean": a.vector, "variance": jnp.abs(a.vector)}, a.wide
    ),
    "flows.coupling_flow": _both_ways(flows.coupling_flow, WIDTH, hidden=(4,)),
    "flows.inverse_autoregressive": _both_ways(flows.inverse_autoregressive, WIDTH, hidden=(4,)),
    "flows.invert": lambda a: _both_ways(lambda: flows.invert(flows.affine(WIDTH)))(a),
    "flows.masked_autoregressive": _both_ways(flows.masked_autoregressive, WIDTH, hidden=(4,)),
    "flows.mixing": _both_ways(flows.mixing, WIDTH),
    "flows.permutation": _both_ways(flows.permutation, (1, 0, 3, 2)),
    "flows.planar": _both_ways(flows.planar, WIDTH),
    "flows.reverse": _both_ways(flows.reverse, WIDTH),
    "flows.shuffle": _both_ways(flows.shuffle, WIDTH),
    "flows.spline_coupling": _both_ways(flows.spline_coupling, WIDTH, hidden=(4,)),
    "flows.spline_forward": lambda a: flows.spline_forward(a.x, a.raw, 3.0),
    "flows.spline_inverse": lambda a: flows.spline_inverse(a.x, a.raw, 3.0),
    "likelihood.average": lambda a: likelihood.average(_estimate(a)),
    "likelihood.bits_per_dimension": lambda a: likelihood.bits_per_dimension(a.vector, 3),
    "likelihood.jackknife": lambda a: likelihood.jackknife(a.logits),
    "likelihood.overstated": lambda a: likelihood.overstated(a.x[0], _estimate(a)),
    "objectives.adversarial_variational_bayes.critic_loss": (
        lambda a: o.adversarial_variational_bayes.critic_loss(a.many, a.more)
    ),
    "objectives.adversarial_variational_bayes.with_prior": (
        lambda a: o.adversarial_variational_bayes.with_prior(a.logits, a.other)
    ),
    "objectives.adversarial_variational_bayes.terms": (
        lambda a: o.adversarial_variational_bayes.terms(a.logits, a.other)
    ),
    "objectives.adversarial_variational_bayes.loss": (
        lambda a: o.adversarial_variational_bayes.loss(a.many, a.many / 2)
    ),
    "objectives.adversarial_variational_bayes.moments": (
        lambda a: o.adversarial_variational_bayes.moments(a.wide)
    ),
    "objectives.adversarial_variational_bayes.normalize": (
        lambda a: o.adversarial_variational_bayes.normalize(
            a.x, o.adversarial_variational_bayes.Contrast(a.y, a.scale)
        )
    ),
    "objectives.adversarial_variational_bayes.contrast_log_prob": (
        lambda a: o.adversarial_variational_bayes.contrast_log_prob(
            a.x, o.adversarial_variational_bayes.Contrast(a.y, a.scale)
        )
    ),
    "objectives.adversarial_variational_bayes.adaptive_kl": (
        lambda a: o.adversarial_variational_bayes.adaptive_kl(
            a.vector, a.x, o.adversarial_variational_bayes.Contrast(a.y, a.scale), a.vector
        )
    ),
    "objectives.adversarial_variational_bayes.contrast_log_weights": (
        lambda a: o.adversarial_variational_bayes.contrast_log_weights(
            a.vector, a.vector, a.x, o.adversarial_variational_bayes.Contrast(a.y, a.scale)
        )
    ),
    "objectives.aggregate_density.log_densities": (
        lambda a: o.aggregate_density.log_densities(a.draws, a.x, a.scale)
    ),
    "objectives.aggregate_density.minibatch_weighted": (
        lambda a: o.aggregate_density.minibatch_weighted(a.square, 9)
    ),
    "objectives.aggregate_density.minibatch_stratified": (
        lambda a: o.aggregate_density.minibatch_stratified(a.square, 9)
    ),
    "objectives.density_ratio.logistic_loss": (
        lambda a: o.density_ratio.logistic_loss(a.many, a.more)
    ),
    "objectives.density_ratio.kl_estimate": lambda a: o.density_ratio.kl_estimate(a.many),
    "objectives.density_ratio.js_estimate": lambda a: o.density_ratio.js_estimate(a.vector),
    "objectives.density_ratio.donsker_varadhan": (
        lambda a: o.density_ratio.donsker_varadhan(a.many, a.many / 2)
    ),
    "objectives.density_ratio.f_divergence_bound": (
        lambda a: o.density_ratio.f_divergence_bound(a.many, a.many / 8)
    ),
    "objectives.density_ratio.diagnose": lambda a: o.density_ratio.diagnose(a.many, a.many / 2, 4),
    "objectives.density_ratio.ratio_error": lambda a: o.density_ratio.ratio_error(a.x, a.y),
    "objectives.divergences.kl": lambda a: o.divergences.kl(
        _log_softmax(a.logits), _log_softmax(a.other)
    ),
    "objectives.divergences.js": lambda a: o.divergences.js(
        _log_softmax(a.logits), _log_softmax(a.other)
    ),
    "objectives.divergences.total_variation": lambda a: o.divergences.total_variation(
        _log_softmax(a.logits), _log_softmax(a.other)
    ),
    "objectives.divergences.kl_on_grid": lambda a: o.divergences.kl_on_grid(
        _log_softmax(a.logits), _log_softmax(a.other), 0.5
    ),
    "objectives.divergences.js_on_grid": lambda a: o.divergences.js_on_grid(a.logits, a.other, 0.5),
    "objectives.divergences.total_variation_on_grid": (
        lambda a: o.divergences.total_variation_on_grid(a.logits, a.other, 0.5)
    ),
    "objectives.elbo.elbo": lambda a: o.elbo.elbo(a.x, a.y),
    "objectives.elbo.density_kl": lambda a: o.elbo.density_kl(a.x, a.logits, a.other, 0.7, 0.4),
    "objectives.elbo.relaxed_mass_kl": lambda a: o.elbo.relaxed_mass_kl(
        _log_softmax(a.x), a.logits, a.other
    ),
    "objectives.elbo.analytic_kl": lambda a: o.elbo.analytic_kl(a.x, a.logits, a.other),
    "objectives.elbo.warm_up": lambda a: o.elbo.warm_up(jnp.abs(a.vector), num_steps=3),
    "objectives.elbo_surgery.active_units": lambda a: o.elbo_surgery.active_units(a.wide),
    "objectives.elbo_surgery.decompose": lambda a: o.elbo_surgery.decompose(a.square, a.vector),
    "objectives.elbo_surgery.decompose_aggregate": (
        lambda a: o.elbo_surgery.decompose_aggregate(a.many, a.more, a.most)[1:4]
    ),
    "objectives.elbo_surgery.decompose_gaussian": (
        lambda a: o.elbo_surgery.decompose_gaussian(a.draws, a.x, a.scale, a.draws[..., 0])[1:5]
    ),
    "objectives.elbo_surgery.decompose_on_grid": (
        lambda a: o.elbo_surgery.decompose_on_grid(_log_softmax(a.x), _log_softmax(a.vector), 1.0)
    ),
    "objectives.free_bits.free_bits": lambda a: o.free_bits.free_bits(a.wide, 0.5),
    "objectives.gan.r1_penalty": lambda a: o.gan.r1_penalty(_critic, a.wide),
    "objectives.gan.r2_penalty": lambda a: o.gan.r2_penalty(_critic, a.wide),
    "objectives.gan.js_lower_bound": lambda a: o.gan.js_lower_bound(a.many, a.more),
    "objectives.gan.label_smoothed": lambda a: o.gan.label_smoothed(
        o.gan.LOSSES["minimax"], 0.1
    ).discriminator(a.many, a.more),
    "objectives.gan.least_squares": lambda a: o.gan.least_squares().discriminator(a.many, a.many),
    "objectives.gan.optimal_logits": lambda a: o.gan.optimal_logits(a.logits, a.other),
    "objectives.gan.pack": lambda a: o.gan.pack(a.x, np.int64(2)),
    "objectives.gan.value": lambda a: o.gan.value(a.many, a.more),
    "objectives.iwae.bound": lambda a: o.iwae.bound(a.many),
    "objectives.iwae.effective_sample_size": lambda a: o.iwae.effective_sample_size(a.many),
    "objectives.path_derivatives.elbo": _bounds(path_derivatives.elbo),
    "objectives.path_derivatives.sticking_the_landing": _bounds(
        path_derivatives.sticking_the_landing
    ),
    "objectives.path_derivatives.importance_weighted": _bounds(
        path_derivatives.importance_weighted
    ),
    "objectives.path_derivatives.doubly_reparameterized": _bounds(
        path_derivatives.doubly_reparameterized
    ),
    "objectives.path_derivatives.gaussian_log_q": (
        lambda a: path_derivatives.gaussian_log_q((a.x, a.scale), a.draws)
    ),
    "objectives.vqvae.loss": lambda a: o.vqvae.loss(a.vector, a.x, a.y),
    "objectives.vqvae.mean_of_real": lambda a: o.vqvae.mean_of_real(
        a.vector, jnp.array([True, True, False, True])
    ),
    "objectives.vqvae.bound": lambda a: o.vqvae.bound(a.vector, a.vector),
    "priors.aggregated_posterior": lambda a: priors.aggregated_posterior(a.x, a.scale).log_prob(
        {"loc": a.x, "scale": a.scale}, a.y
    ),
    "priors.autoregressive_flow_prior": _prior(
        priors.autoregressive_flow_prior, WIDTH, hidden=(4,)
    ),
    "priors.coupling_flow_prior": _prior(priors.coupling_flow_prior, WIDTH, hidden=(4,)),
    "priors.flow": lambda a: _prior(priors.flow, flows.affine(WIDTH), WIDTH)(a),
    "priors.implicit_ratio": lambda a: priors.implicit_ratio(
        priors.standard_normal(WIDTH),
        lambda p, z: jnp.sum(jnp.sin(core.at_least_float32(z)), -1),
        lambda key: {},
    ).log_prob({"base": {}, "ratio": {}}, a.x),
    "priors.mixture": _prior(priors.mixture, WIDTH, 3),
    "priors.spline_flow_prior": _prior(priors.spline_flow_prior, WIDTH, hidden=(4,)),
    "priors.standard_normal": _prior(priors.standard_normal, WIDTH),
    "priors.streamed_log_prob": lambda a: priors.streamed_log_prob(
        a.y, _log_softmax(a.vector), a.x, a.scale, 3
    ),
    "priors.vamp": lambda a: priors.vamp(
        lambda u: (u, jnp.exp(core.at_least_float32(u))), 4, (4,)
    ).log_prob({"inputs": a.unit}, a.x),
    "quantization.codebook_ema.init": _state,
    "quantization.codebook_ema.update": lambda a: codebook_ema.update(_state(a), a.x, CODES, 0.9),
    "quantization.codebook_ema.statistics": lambda a: codebook_ema.statistics(
        _state(a), a.x, CODES
    ),
    "quantization.codebook_ema.apply": lambda a: codebook_ema.apply(
        _state(a), codebook_ema.statistics(_state(a), a.x, CODES)
    ),
    "quantization.codebook_ema.revive": lambda a: codebook_ema.revive(KEY, _state(a), a.x, 2.0),
    "quantization.codebook_usage": lambda a: q.codebook_usage(CODES, 3),
    "quantization.count_codes": lambda a: q.count_codes(CODES, 3),
    "quantization.finite_scalar.finite_scalar_quantize": (
        lambda a: finite_scalar.finite_scalar_quantize(a.x, [8, 5, 5, 5])
    ),
    "quantization.finite_scalar.bound": lambda a: finite_scalar.bound(a.x, [8, 5, 5, 5]),
    "quantization.finite_scalar.values_to_codes": lambda a: finite_scalar.values_to_codes(
        jnp.round(a.unit), [8, 5, 5, 5]
    ),
    "quantization.finite_scalar.codes_to_values": lambda a: finite_scalar.codes_to_values(
        CODES, [8, 5, 5, 5], a.x.dtype
    ),
    "quantization.finite_scalar_quantizer": _quantizer(q.finite_scalar_quantizer([8, 5, 5, 5])),
    "quantization.kmeans": lambda a: q.kmeans(KEY, a.x, 3, 2, codebook=a.codebook),
    "quantization.l2_normalize": lambda a: q.l2_normalize(a.wide),
    "quantization.vector_lookup": lambda a: q.vector_lookup(a.codebook, CODES),
    "quantization.miller_madow_perplexity": lambda a: q.miller_madow_perplexity(
        jnp.round(jnp.abs(a.wide))
    ),
    "quantization.multi_head_lookup": lambda a: q.multi_head_lookup(
        a.heads, np.stack([CODES, CODES], -1)
    ),
    "quantization.multi_head_quantize": lambda a: q.multi_head_quantize(a.x, a.heads),
    "quantization.nearest_code": lambda a: q.nearest_code(a.x, a.codebook),
    "quantization.quantize_with_codes": lambda a: q.quantize_with_codes(a.x, a.codebook, CODES),
    "quantization.residual_lookup": lambda a: q.residual_lookup(
        a.codebooks, np.stack([CODES, CODES], -1)
    ),
    "quantization.residual_quantize": lambda a: q.residual_quantize(a.x, a.codebooks),
    "quantization.usage_of_counts": lambda a: q.usage_of_counts(jnp.abs(a.wide)),
    "quantization.vector_quantize": lambda a: q.vector_quantize(
        a.x, a.codebook, gradient="rotation", cosine=True
    ),
    "sampling.guide": lambda a: s.guide(a.logits, a.other, 1.5),
    "sampling.straight_through": lambda a: s.straight_through(a.x, a.y),
    "sampling.temperature.constant": lambda a: s.temperature.constant(3, a.scale[0, 0]),
    "sampling.temperature.exponential": lambda a: s.temperature.exponential(
        3, start=a.scale[0, 0], rate=0.1
    ),
    "sampling.temperature.linear": lambda a: s.temperature.linear(
        1, start=a.scale[0, 0], num_steps=3
    ),
    "sampling.temperature.cosine": lambda a: s.temperature.cosine(
        1, start=a.scale[0, 0], num_steps=3
    ),
    "sampling.top_k": lambda a: s.top_k(a.logits, 2),
    "sampling.top_p": lambda a: s.top_p(a.logits, 0.6),
    "sampling.with_temperature": lambda a: s.with_temperature(a.logits, 0.5),
}
CALLS |= {
    f"objectives.gan.LOSSES[{name}]": lambda a, loss=loss: tuple(
        side(a.many, a.more) for side in loss
    )
    for name, loss in o.gan.LOSSES.items()
}
CALLS |= {
    f"densities.posteriors.POSTERIORS[{name}]": lambda a, of=of: of.log_density(a.ten[:, : of.size])
    for name, of in POSTERIORS.items()
}

# What has no input of a floating type: its results are in JAX's own type, or float32.
OF_INTEGERS = {"quantization.codebook_usage"}

# What comes back through a function of the caller's in the input's own type.
IN_OWN_TYPE = {"objectives.gan.r1_penalty", "objectives.gan.r2_penalty"}

DRAWS = {
    "core.normal": lambda a: core.normal(KEY, (3, 2)),
    "core.uniform": lambda a: core.uniform(KEY, (3, 2)),
    "densities.mixture.sample": lambda a: d.mixture.sample(
        KEY, 5, _log_softmax(a.vector[:3]), a.codebook, 0.7
    ),
    "evaluation.kernel_distance_over_subsets": lambda a: evaluation.kernel_distance_over_subsets(
        KEY, real=a.real, fake=a.fake, subset_size=4, num_subsets=3
    ),
    "evaluation.perfect_sampler": lambda a: evaluation.perfect_sampler(KEY, a.codebook, 0.01, 20),
    "evaluation.sliced_wasserstein": lambda a: evaluation.sliced_wasserstein(
        KEY, real=a.real[:11], fake=a.fake, num_projections=3
    ),
    "likelihood.evidence_lower_bound": lambda a: likelihood.evidence_lower_bound(
        KEY, _path(), a.plane, 4
    ),
    "likelihood.importance_weighted": lambda a: likelihood.importance_weighted(
        KEY, lambda key, x, n: core.normal(key, (n, len(x))).astype(x.dtype), a.plane, 4
    ),
    "likelihood.ladder": lambda a: likelihood.ladder(
        KEY,
        _path(),
        a.plane,
        num_samples=4,
        settings=SETTINGS,
        simulated=(a.plane, a.plane),
    ),
    "objectives.adversarial_variational_bayes.contrast_sample": (
        lambda a: o.adversarial_variational_bayes.contrast_sample(
            KEY, o.adversarial_variational_bayes.Contrast(a.y, a.scale), 3
        )
    ),
    "objectives.gan.dragan_penalty": lambda a: o.gan.dragan_penalty(_critic, a.x, KEY),
    "objectives.gan.gradient_penalty": lambda a: o.gan.gradient_penalty(_critic, a.x, a.y, KEY),
    "objectives.gan.instance_noise": lambda a: o.gan.instance_noise(KEY, a.x, 0.1),
    "priors.estimate_log_normalizer": lambda a: priors.estimate_log_normalizer(
        KEY,
        priors.standard_normal(2),
        lambda p, z: jnp.sin(z[..., 0]).astype(a.x.dtype),
        {"base": {}, "ratio": {}},
        50,
    ),
    "quantization.codebook_loss_quantizer": _quantizer(q.codebook_loss_quantizer(3, 4)),
    "quantization.moving_average_quantizer": _quantizer(q.moving_average_quantizer(3, 4)),
    "quantization.product_quantizer": _quantizer(q.product_quantizer(3, 4, 2)),
    "quantization.residual_quantizer": _quantizer(q.residual_quantizer(3, 4, 2)),
    "sampling.conditional_perturbed_logits": lambda a: s.conditional_perturbed_logits(
        KEY, a.logits, CODES
    ),
    "sampling.estimators.expectation": lambda a: expectation(
        ESTIMATORS["rebar"], KEY, _quadratic, a.logits[0]
    ),
    "sampling.gaussian": lambda a: s.gaussian(KEY, a.x, a.scale),
    "sampling.gumbel_max": lambda a: s.gumbel_max(KEY, a.logits),
    "sampling.gumbel_noise": lambda a: s.gumbel_noise(KEY, (3, 2)),
    "sampling.gumbel_softmax": lambda a: s.gumbel_softmax(KEY, a.logits, 0.5),
    "sampling.gumbel_top_k": lambda a: s.gumbel_top_k(KEY, a.logits, 2),
    "sampling.log_gumbel_softmax": lambda a: s.log_gumbel_softmax(KEY, a.logits, 0.5),
    "sampling.perturbed_logits": lambda a: s.perturbed_logits(KEY, a.logits),
    "sampling.straight_through_gumbel_softmax": lambda a: s.straight_through_gumbel_softmax(
        KEY, a.logits, 0.5
    ),
}
DRAWS |= {
    f"sampling.estimators.{name}": lambda a, of=of: of(KEY, _quadratic, a.logits[0])
    for name, of in ESTIMATORS.items()
}

EXCEPTIONS = {
    "core.did_you_mean": "texts",
    "core.draw_from": "composes functions; tests/training/test_training_feeding.py",
    "core.by_name": "names",
    "core.described": "texts",
    "core.differences": "texts",
    "core.float_type": "types; at_least_float32 and widened use it",
    "core.has_kernels": "shapes",
    "core.is_key": "types",
    "core.lookup": "names",
    "core.named_key": "keys",
    "core.on_host": "copies",
    "core.platform_or_at_hand": "names",
    "core.quick_key": "keys",
    "core.require": "a condition",
    "core.require_at_least": "settings",
    "core.require_at_most": "settings",
    "core.sha256_of": "bytes",
    "core.require_positive": "settings",
    "core.tree_sha256": "bytes",
    "core.tree_size": "shapes",
    "core.checks": "looks at values, computes none; tests/core/test_core_checks.py",
    "core.json_values": "texts",
    "core.product_parts": "of an integer",
    "densities.categorical.require_classes": "integers",
    "evaluation.expected_valid": "of two Python numbers",
    "evaluation.frechet_distance": "NumPy in float64 on the host",
    "evaluation.frechet_from_moments": "NumPy in float64 on the host",
    "evaluation.inception": "a network of weights in a file",
    "flows.chain": "through coupling_flow",
    "flows.coupling": "through affine_coupling and spline_coupling",
    "flows.dense": "through affine_coupling",
    "flows.masked_dense": "through masked_autoregressive",
    "flows.num_spline_params": "integers",
    "likelihood.annealed_importance_sampling": "through ladder",
    "likelihood.annealing": "through ladder",
    "likelihood.bidirectional": "through ladder",
    "likelihood.from_prior": "makes a path; through ladder",
    "likelihood.from_proposal": "makes a path",
    "likelihood.hmc": "through ladder",
    "objectives.aggregate_density.stratified_weights": "of two integers",
    "objectives.elbo_surgery.mutual_information_bound": "of an integer",
    "objectives.elbo_surgery.minibatch_stratified": "that of aggregate_density",
    "objectives.elbo_surgery.minibatch_weighted": "that of aggregate_density",
    "objectives.penalties": "those of gan",
    "objectives.vqvae.uniform_log_prior": "of two integers",
    "priors.require_density": "shapes",
    "quantization.check_codes": "integers",
    "quantization.finite_scalar.require_levels": "integers",
    "quantization.finite_scalar_quantize": "that of finite_scalar",
}


def public_names() -> set[str]:
    """Every public function of the rooms, those of public modules by the module's name too."""
    return set().union(*(_names(f"dgm_jax.{room}") for room in ROOMS))


def _names(path: str) -> set[str]:
    module = importlib.import_module(path)
    exported = getattr(module, "__all__", None)
    names = exported or [name for name in vars(module) if not name.startswith("_")]
    found = set()
    for name in names:
        value = getattr(module, name)
        here = f"{path}.{name}"
        if isinstance(value, types.ModuleType):
            found |= _names(here) if value.__name__ == here else set()
        elif inspect.isfunction(value) or type(value).__name__ in ("partial", "custom_jvp"):
            own = getattr(value, "__module__", path)
            if exported or own == path:
                found.add(here.removeprefix("dgm_jax."))
    return found
