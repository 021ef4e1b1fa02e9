"""Chain-steps per second of annealed importance sampling, beside PyTorch, and the memory it takes.

    python -m benchmarks.annealing [--rounds 7] [--steps 50] [--images 20] [--chains 16] [--quick]

log p(x) of binary 28x28 images under a decoder 40-300-300-784 (glorot), from the prior: at every
step each chain of each image makes an HMC transition of ten leapfrog steps, ten gradients of log
p(x | z). A chain-step is one such transition of one chain. Step sizes are given, so the pilot run
is not in it. JAX runs `likelihood.annealing.forward` in one compiled program; PyTorch runs the same
algorithm eagerly, all chains in one batch. Before anything is timed, both must give the same log
p(x | z) and gradient, and estimates of log p(x) that agree within four standard errors.

`checks` has the temporary memory of the compiled ladder for ten and a hundred times the draws and
the steps.
"""

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness, torch_dense
from dgm_jax import core, likelihood
from dgm_jax.densities import bernoulli, gaussian
from dgm_jax.likelihood import annealing
from dgm_jax.networks import MLP, from_flax
from dgm_jax.objectives import iwae

WIDTHS, SIZE, LEAPFROG = (40, 300, 300, 784), 0.1, 10
TOLERANCE, LIMIT = 1e-5, 4.0  # relative, of densities; of estimates, in standard errors


def decoder_params():
    """Weights of the decoder."""
    return _network().init(jax.random.key(0), jnp.zeros((2, WIDTHS[0])))[0]


def _network():
    return from_flax(MLP(WIDTHS[1:], "relu", "glorot"))


def log_likelihood(params, x, z):
    """log p(x | z): x [b, 784], z [n, b, 40] -> [n, b]."""
    logits = _network().apply(params, {}, z.reshape(-1, WIDTHS[0]), train=False)[0]
    return jnp.sum(bernoulli.log_prob(x, logits.reshape(*z.shape[:2], -1)), axis=-1)


def path(params) -> annealing.Path:
    """From N(0, I) to the posterior."""
    return annealing.from_prior(
        lambda key, n: core.normal(key, (n, WIDTHS[0])),
        lambda z: jnp.sum(gaussian.log_prob(z, 0.0, 1.0), axis=-1),
        lambda x, z: log_likelihood(params, x, z),
    )


class TorchAnnealing:
    """The same chains in PyTorch."""

    def __init__(self, torch, device, params):
        self.torch, self.device = torch, device
        self.decoder = torch_dense.mlp(torch, WIDTHS, torch.nn.ReLU).to(device)
        torch_dense.load(torch, self.decoder, params)
        self.decoder.requires_grad_(False)

    def evaluate(self, x, z):
        """(log p(x | z) [n, b], its gradient in z)."""
        z = z.detach().requires_grad_()
        losses = self.torch.nn.functional.binary_cross_entropy_with_logits(
            self.decoder(z), x.expand(len(z), -1, -1), reduction="none"
        )
        value = -losses.sum(-1)
        return value.detach(), self.torch.autograd.grad(value.sum(), z)[0]

    def transition(self, x, at, beta):
        """HMC on N(0, I) p(x | z)^beta from at = (z, log p(x | z), gradient)."""
        torch = self.torch
        z, value, slope = at
        first = p = torch.randn_like(z)
        for _ in range(LEAPFROG):
            p = p + SIZE / 2 * (beta * slope - z)
            z = z + SIZE * p
            value, slope = self.evaluate(x, z)
            p = p + SIZE / 2 * (beta * slope - z)
        energy = lambda z, value, p: beta * value - (z * z).sum(-1) / 2 - (p * p).sum(-1) / 2
        accept = torch.rand_like(value).log() < energy(z, value, p) - energy(at[0], at[1], first)
        choose = lambda new, old: torch.where(
            accept.reshape(*accept.shape, *[1] * (new.ndim - 2)), new, old
        )
        return tuple(map(choose, (z, value, slope), at))

    def log_weights(self, x, num_chains: int, num_steps: int):
        """[n, b] after num_steps distributions on a linear schedule."""
        z = self.torch.randn(num_chains, *x.shape[:1], WIDTHS[0], device=self.device)
        at, total = (z, *self.evaluate(x, z)), 0
        for t in range(1, num_steps):
            total = total + at[1] / num_steps
            at = self.transition(x, at, t / num_steps)
        return total + at[1] / num_steps


def forward(params, key, x, settings):
    """The library's chains at the given step size: log weights [n, b]."""
    sizes = jnp.full((settings.num_knots, x.shape[0]), SIZE)
    return annealing.forward(key, path(params), x, sizes, settings).log_weights


def check(torch, params, x) -> dict:
    """Raises unless densities and gradients are equal, and estimates of log p(x) agree within their
    errors."""
    settings = annealing.Settings(num_steps=200, num_chains=16, num_leapfrog=LEAPFROG)
    z = core.normal(jax.random.key(1), (4, *x.shape[:1], WIDTHS[0]))
    value, pull = jax.vjp(lambda z: log_likelihood(params, x, z), z)
    ours = value, pull(jnp.ones_like(value))[0]
    peer, pixels = TorchAnnealing(torch, "cpu", params), torch.from_numpy(np.array(x))
    theirs = [v.numpy() for v in peer.evaluate(pixels, torch.from_numpy(np.array(z)))]
    differences = [
        float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, theirs, strict=True)
    ]
    torch.manual_seed(0)
    weights = (
        forward(params, jax.random.key(2), x, settings),
        peer.log_weights(pixels, 16, 200).numpy(),
    )
    means, errors = zip(*[_mean_and_error(jnp.asarray(w)) for w in weights], strict=True)
    score = (means[0] - means[1]) / float(np.hypot(*errors))
    if max(differences) > TOLERANCE or abs(score) > LIMIT:
        raise SystemExit(
            f"the sides do not compute the same: densities {differences}, log p {means} +- {errors}"
        )
    return {
        "relative_difference_of_densities": differences,
        "log_prob": means,
        "standard_errors": errors,
    }


def _mean_and_error(log_weights):
    """Of log p(x), averaged over images; the error by the spread of ten-odd chains' weights."""
    size, num = iwae.effective_sample_size(log_weights), log_weights.shape[0]
    error = jnp.sqrt(jnp.maximum(num / size - 1, 0) / (num - 1))
    return float(jnp.mean(iwae.bound(log_weights))), float(jnp.linalg.norm(error) / len(error))


def memory(params, x) -> dict:
    """Temporary bytes of compiled importance weighting and annealing, by numbers of draws and of
    steps."""
    made = path(params)
    log_weights = lambda key, x, n: made.log_ratio(x, made.sample(key, x, n))

    def compiled_bytes(function):
        return (
            jax.jit(function)
            .lower(jax.random.key(0), x)
            .compile()
            .memory_analysis()
            .temp_size_in_bytes
        )

    found = {}
    for num in (100, 1_000, 10_000):
        weigh = lambda key, x, num=num: likelihood.importance_weighted(key, log_weights, x, num)
        settings = annealing.Settings(num_steps=num, num_chains=16)
        anneal = lambda key, x, settings=settings: likelihood.annealed_importance_sampling(
            key, made, x, settings
        )
        found[f"importance weighting, {num} draws"] = compiled_bytes(weigh)
        found[f"annealing, {num} steps of 16 chains"] = compiled_bytes(anneal)
    return found


def main() -> int:
    """Checks, measures, writes."""
    parser = harness.parser(__doc__.splitlines()[0], rounds=7, steps=50, seeds=[1])
    parser.add_argument("--images", type=int, default=20, help="rows of x")
    parser.add_argument("--chains", type=int, default=16, help="of each image")
    arguments = harness.parse(parser)
    arguments.steps = max(arguments.steps, 2)
    torch, params = harness.torch_or_none(), decoder_params()
    x = jnp.asarray(np.random.default_rng(0).integers(0, 2, (arguments.images, 784)), jnp.float32)
    checks = {"temporary_bytes": memory(params, x)} | (check(torch, params, x) if torch else {})
    print(*(f"{name}: {value}" for name, value in checks["temporary_bytes"].items()), sep="\n")
    settings = annealing.Settings(
        num_steps=arguments.steps, num_chains=arguments.chains, num_leapfrog=LEAPFROG
    )
    count = arguments.images * arguments.chains * (arguments.steps - 1)
    start = time.perf_counter()
    run = (
        jax.jit(lambda key, x: forward(params, key, x, settings))
        .lower(jax.random.key(0), x)
        .compile()
    )
    seconds = time.perf_counter() - start
    cases = {
        "jax": harness.Case(
            lambda: jax.block_until_ready(run(jax.random.key(0), x)), count, seconds
        )
    }
    if torch:
        device = harness.torch_device(torch)
        peer, pixels = (
            TorchAnnealing(torch, device, params),
            torch.from_numpy(np.array(x)).to(device),
        )
        call = lambda: peer.log_weights(pixels, arguments.chains, arguments.steps).cpu()
        cases["torch eager"] = harness.Case(call, count)
    harness.report("annealing", cases, checks, arguments, "chain-steps/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
