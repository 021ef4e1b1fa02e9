"""The KL term of a VAE taken apart over the whole training set, and what is wrong with both obvious
priors.

    python -m experiments.elbo_surgery
    python -m experiments.elbo_surgery --latent 2 --num_surgery 10000

Hoffman and Johnson 2016: over the n training images, average KL(q(z | x_i) || p(z)) = mutual
information of index and z + KL(q(z) || p(z)), with q(z) the average of all n posteriors, summed
exactly (each z meets all n). The information is at most log n (log 60,000 = 11.0). `identity_error`
is the difference of the two sides as computed.

N(0, I) over-regularises: `marginal_kl` nats an image are lost to a prior that is not where the
codes are. The best prior for the training set is q(z) itself: put in its place after training it
gains exactly that, `train_gain` = marginal_kl. But it overfits: on test images it gains `test_gain`
only, each training code having a component of its own, and one evaluation costs n Gaussians.

Measured with `--data fashion_mnist` (3 seeds of 0, 2026-11-23, two CPU cores, 27 minutes beside
other work), means over seeds in nats, all 60,000 training images in the sums; log n = 11.00:

    latents  average KL  infor-   of     marginal  gain on  gain on  active  identity
                         mation   log n  KL        train    test             error
          2        6.37    5.82   .529       .55      .55      .52      2        3e-7
         10       14.66   10.47   .952      4.19     4.19     -.51   9.67        1e-6
         50       15.00   10.52   .957      4.47     4.47     -.67     13        2e-6

With ten latents or more nearly every image has a code of its own, N(0, I) costs 4.2 to 4.5 nats an
image, and the exact aggregate, which would win them back on the training set, is worse than N(0, I)
on test images.
"""

import dataclasses
import functools
import sys

import jax
import jax.numpy as jnp
import optax

from dgm_jax import data, parallel, plotting, priors, sampling, training
from dgm_jax.core import Task, chunked, require
from dgm_jax.densities import gaussian
from dgm_jax.models import posteriors
from dgm_jax.models.latent import log_prior, terms
from dgm_jax.models.vae import vae
from dgm_jax.objectives import elbo_surgery
from dgm_jax.run import Experiment, main
from dgm_jax.studies import binary_images
from dgm_jax.studies import vae as study

SHOWN = 2_000  # codes in the figure


@dataclasses.dataclass(frozen=True)
class Config(study.VaeConfig):
    """ELBO surgery for several latent sizes."""

    latent: tuple[int, ...] = (2, 10, 50)
    """Arms: numbers of latents."""
    num_steps: int = 10_000
    log_every: int = 2_500
    num_surgery: int = 0
    """Training images in the surgery; 0 for all."""
    latent_size: int = 0
    """Set by each arm: give latent."""


def _sized(config: Config) -> Config:
    return dataclasses.replace(config, latent_size=config.latent[0])


def validate(config: Config) -> None:
    """Names and ranges, before anything is loaded."""
    require(
        config.latent_size == 0, f"the arms set latent_size: give --latent {config.latent_size}"
    )
    study.validate(_sized(config))
    require(
        config.num_surgery == 0 or config.num_surgery >= 2,
        f"num_surgery must be 0 or >= 2, got {config.num_surgery}",
    )


def build(config: Config, loaded) -> Task:
    """One seed at one latent size: a VAE under N(0, I), taken apart at the end."""
    config = _sized(config)
    recipe = study.recipe(config, loaded)
    model = vae(recipe, loaded.dataset.info.shape, beta=study.linear_warm_up(config))
    rate = training.learning_rate("cosine", config.learning_rate, config.num_steps)
    algorithm = functools.partial(training.alternating, model.players, {"vae": optax.adam(rate)})
    draw = binary_images.draw_with_step(loaded, config.batch_size)
    conclude = functools.partial(_conclude, config, recipe)
    return Task(
        model.init, draw, algorithm, functools.partial(_evaluate, recipe), conclude=conclude
    )


def _evaluate(recipe, train_state, arrays, key):
    """One draw of the bound for every test image."""
    x = data.to_model_range(arrays["test"]["image"], "unit")
    found = terms(key, recipe, train_state.params, train_state.state, x)
    return {"test_elbo": jnp.mean(found.elbo), "test_kl": jnp.mean(found.kl)}


def _conclude(config, recipe, train_state, arrays, key):
    """Surgery over the training set, and q(z) as the prior of train and test images."""
    params, state = train_state.params, train_state.state
    key_train, key_test = jax.random.split(key)
    images = binary_images.training_images(arrays)[: config.num_surgery or None]

    def log_p(z):
        return log_prior(recipe, params, state, z)

    q = study.posteriors(recipe, params, state, images)
    loc, scale = q
    z = sampling.gaussian(key_train, loc, scale)
    found = posteriors.surgery(recipe, params, state, q, z)
    test_z = sampling.gaussian(
        key_test, *study.posteriors(recipe, params, state, arrays["test"]["image"])
    )
    aggregate = priors.aggregated_posterior(loc, scale)
    log_aggregate = chunked(
        lambda z: aggregate.log_prob({"loc": loc, "scale": scale}, z), test_z, 256
    )
    bound = elbo_surgery.mutual_information_bound(len(images))
    analytic = jnp.sum(gaussian.kl(loc, scale, 0.0, 1.0), axis=-1)
    return {
        "average_kl": found.average_kl.mean,
        "analytic_kl": jnp.mean(analytic),
        "mutual_information": found.mutual_information.mean,
        "information_over_log_n": found.mutual_information.mean / bound,
        "marginal_kl": found.marginal_kl.mean,
        "identity_error": jnp.abs(
            found.average_kl.mean - found.mutual_information.mean - found.marginal_kl.mean
        ),
        "train_gain": found.marginal_kl.mean,
        "test_gain": jnp.mean(log_aggregate - log_p(test_z)),
        "active_units": elbo_surgery.active_units(loc).count.astype(jnp.float32),
        "codes": z[:SHOWN, :2],
    }


def figures(results, loaded) -> dict:
    """Codes of training images in the first two dimensions, a panel a seed."""
    return {
        f"codes_{result.name}": (
            plotting.scatter_samples(result.arrays["codes"], title=f"{result.name} latents"),
            f"Draws of q(z) in two of {result.name} latents; the prior is N(0, I).",
        )
        for result in results
    }


EXPERIMENT = Experiment(
    name="elbo_surgery",
    config=Config,
    load=study.load,
    build=build,
    distribute=parallel.distribute,
    validate=validate,
    static=("warm_up_share",),
    figures=figures,
    headline=(
        "test_elbo",
        "average_kl",
        "analytic_kl",
        "mutual_information",
        "information_over_log_n",
        "marginal_kl",
        "identity_error",
        "test_gain",
        "active_units",
    ),
    explanations={
        "test_elbo": "One-draw ELBO of the test images, nats.",
        "average_kl": (
            "Mean over training images of log q(z | x) - log p(z) at one draw each, nats."
        ),
        "analytic_kl": "The same in closed form: the difference is the error of one draw an image.",
        "mutual_information": "Of image index and z under q, nats; at most log n.",
        "information_over_log_n": "mutual_information / log n.",
        "marginal_kl": (
            "KL of the aggregated posterior to N(0, I), nats: what the best prior would save."
        ),
        "identity_error": "|average_kl - mutual_information - marginal_kl|.",
        "train_gain": (
            "Gain of the ELBO of training images when q(z) replaces N(0, I): marginal_kl."
        ),
        "test_gain": (
            "Gain of the ELBO of test images by the same prior: less, or negative, where it"
            " overfits."
        ),
        "active_units": "Latents whose posterior mean varies by more than .01 over images.",
    },
    arm_field="latent",
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
