"""Convolutions and a whole image-GAN step: matrix products against lax.conv and, if it is there,
PyTorch.

    python -m benchmarks.convolutions [--quick] [--rounds 9] [--only layer,dcgan] [--batches 64,128]

Each case is compiled (that time is apart), then all cases of a group run in interleaved rounds,
each call timed to the end of its result. Times are milliseconds per step and seed: of the clock,
and of this process on all cores together, which other work on the machine disturbs less. Raw
samples, medians and compile times go to benchmarks/results/convolutions_<device>.json.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import time

import jax
import jax.numpy as jnp
import optax

from dgm_jax import networks
from dgm_jax.networks import convolution

NOISE = 100
IMAGE = (28, 28, 1)


def layer_program(backend, batch=128, channels=64, size=14):
    """(state, step): one 3x3 layer forward and backward, its kernel and its input moved a little
    each step."""
    key_x, key_w = jax.random.split(jax.random.key(0))
    x = convolution.to_internal(jax.random.normal(key_x, (batch, size, size, channels)), backend)
    w = 0.05 * jax.random.normal(key_w, (3, 3, channels, channels))

    def loss(w, x):
        return jnp.sum(jnp.square(convolution.conv(x, w, backend=backend))) / batch

    def step(state):
        dw, dx = jax.grad(loss, (0, 1))(*state)
        return state[0] - 1e-6 * dw, state[1] - 1e-6 * dx

    return (w, x), step


def dcgan_program(backend, batch, batch_norm=True):
    """(state, step): a discriminator and a generator update of the DCGAN of this library,
    Adam(2e-4, .5)."""
    generator = networks.from_flax(
        networks.Generator(IMAGE, batch_norm=batch_norm, backend=backend)
    )
    critic = networks.from_flax(networks.Discriminator(backend=backend))
    adam = optax.adam(2e-4, b1=0.5)
    keys = jax.random.split(jax.random.key(0), 4)
    real = jnp.tanh(jax.random.normal(keys[0], (batch, *IMAGE)))
    g, g_state = generator.init(keys[1], jnp.zeros((batch, NOISE)))
    d, _ = critic.init(keys[2], real)

    def critic_loss(d, fake):
        logits = lambda x: critic.apply(d, {}, x, True)[0]
        return jnp.mean(jax.nn.softplus(-logits(real))) + jnp.mean(jax.nn.softplus(logits(fake)))

    def generator_loss(g, g_state, d, z):
        fake, g_state = generator.apply(g, g_state, z, True)
        return jnp.mean(jax.nn.softplus(-critic.apply(d, {}, fake, True)[0])), g_state

    def step(state):
        g, d, g_state, g_opt, d_opt, key = state
        key, key_d, key_g = jax.random.split(key, 3)
        z = jax.random.normal(key_d, (batch * NOISE,)).reshape(batch, NOISE)
        fake, g_state = generator.apply(g, g_state, z, True)
        updates, d_opt = adam.update(jax.grad(critic_loss)(d, fake), d_opt)
        d = optax.apply_updates(d, updates)
        z = jax.random.normal(key_g, (batch * NOISE,)).reshape(batch, NOISE)
        gradient, g_state = jax.grad(generator_loss, has_aux=True)(g, g_state, d, z)
        updates, g_opt = adam.update(gradient, g_opt)
        return optax.apply_updates(g, updates), d, g_state, g_opt, d_opt, key

    return (g, d, g_state, adam.init(g), adam.init(d), keys[3]), step


def arrange(step, state, how, steps, seeds):
    """(function, state, seed-steps per call) for one way of running a step."""

    def scanned(state):
        return jax.lax.scan(lambda s, _: (step(s), None), state, length=steps)[0]

    many = jax.tree.map(lambda x: jnp.stack([x] * seeds), state)
    return {
        "alone": (step, state, 1),
        "scan": (scanned, state, steps),
        "scan of vmap": (
            lambda s: jax.lax.scan(lambda t, _: (jax.vmap(step)(t), None), s, length=steps)[0],
            many,
            steps * seeds,
        ),
        "map of scan": (lambda s: jax.lax.map(scanned, s), many, steps * seeds),
    }[how]


def jax_case(program, how, steps, seeds):
    state, step = program
    function, state, count = arrange(step, state, how, steps, seeds)
    start = time.perf_counter()
    compiled = jax.jit(function).lower(state).compile()
    seconds = time.perf_counter() - start
    holder = [state]

    def call():
        holder[0] = jax.block_until_ready(compiled(holder[0]))

    return call, count, seconds


def torch_layer(batch=128, channels=64, size=14):
    import torch

    layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(
        memory_format=torch.channels_last
    )
    x = (
        torch.randn(batch, channels, size, size)
        .contiguous(memory_format=torch.channels_last)
        .requires_grad_()
    )

    def call():
        layer.weight.grad = x.grad = None
        (layer(x).square().sum() / batch).backward()

    return call, 1, 0.0


def torch_dcgan(batch, batch_norm=True):
    import torch
    from torch import nn
    from torch.nn.functional import softplus

    norm = (lambda n: nn.BatchNorm2d(n)) if batch_norm else (lambda n: nn.Identity())
    g = nn.Sequential(
        nn.Linear(NOISE, 7 * 7 * 128, bias=not batch_norm),
        nn.Unflatten(1, (128, 7, 7)),
        norm(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=not batch_norm),
        norm(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, 2, 1),
        nn.Tanh(),
    ).to(memory_format=torch.channels_last)
    d = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(128 * 7 * 7, 1),
    ).to(memory_format=torch.channels_last)
    optimizers = [torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999)) for m in (g, d)]
    real = torch.tanh(torch.randn(batch, 1, 28, 28)).contiguous(memory_format=torch.channels_last)

    def call():
        with torch.no_grad():
            fake = g(torch.randn(batch, NOISE))
        optimizers[1].zero_grad()
        (softplus(-d(real)).mean() + softplus(d(fake)).mean()).backward()
        optimizers[1].step()
        optimizers[0].zero_grad()
        softplus(-d(g(torch.randn(batch, NOISE)))).mean().backward()
        optimizers[0].step()

    return call, 1, 0.0


def interleave(cases, rounds, slow_rounds):
    """{name: [(clock, processor)]} in ms per seed-step; a round runs each case once, the slow ones
    less often."""
    samples = {name: [] for name in cases}
    for call, _, _ in cases.values():
        call()
    for index in range(rounds):
        for name, (call, count, _) in cases.items():
            if index < slow_rounds or not is_slow(name):
                clock, processor = time.perf_counter(), time.process_time()
                call()
                elapsed = time.perf_counter() - clock, time.process_time() - processor
                samples[name].append([1e3 * t / count for t in elapsed])
    return samples


def is_slow(name):
    """lax.conv inside a loop on CPU takes seconds a step."""
    return name.startswith("lax") and "scan" in name and jax.default_backend() == "cpu"


def has_torch():
    return importlib.util.find_spec("torch") is not None


def groups(only, batches, steps, seeds, lax_steps, lax_loops):
    ways = ("alone", "scan", "scan of vmap", "map of scan")
    makers = {}
    if "layer" in only:
        makers["layer 3x3 64->64 14x14 batch 128"] = (
            lambda backend: layer_program(backend),
            torch_layer,
        )
    for batch in batches if "dcgan" in only else ():
        makers[f"dcgan step batch {batch}"] = (
            lambda backend, b=batch: dcgan_program(backend, b),
            lambda b=batch: torch_dcgan(b),
        )
    for title, (make, make_torch) in makers.items():
        cases = {}
        for backend in convolution.BACKENDS:
            for way in ways:
                name = f"{backend}, {way}"
                if is_slow(name) and not lax_loops:
                    continue
                cases[name] = jax_case(
                    make(backend), way, lax_steps if is_slow(name) else steps, seeds
                )
        if has_torch():
            cases["torch eager channels-last"] = make_torch()
        yield title, cases


def summary(samples, compile_seconds):
    clock, processor = zip(*samples, strict=True)
    return {
        "median_ms": statistics.median(clock),
        "min_ms": min(clock),
        "samples_ms": clock,
        "median_processor_ms": statistics.median(processor),
        "min_processor_ms": min(processor),
        "samples_processor_ms": processor,
        "compile_seconds": compile_seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--slow_rounds", type=int, default=2, help="rounds of lax.conv in loops on CPU"
    )
    parser.add_argument("--steps", type=int, default=10, help="steps of a scan")
    parser.add_argument(
        "--lax_steps", type=int, default=2, help="steps of a scan of lax.conv on CPU"
    )
    parser.add_argument("--no_lax_loops", action="store_true", help="leave those out")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--only", default="layer,dcgan")
    parser.add_argument("--batches", default="64,128")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 3 steps; writes nothing")
    args = parser.parse_args()
    rounds, steps = (2, 3) if args.quick else (args.rounds, args.steps)
    batches = [int(b) for b in args.batches.split(",")]
    results = {}
    for title, cases in groups(
        args.only.split(","), batches, steps, args.seeds, args.lax_steps, not args.no_lax_loops
    ):
        samples = interleave(cases, rounds, args.slow_rounds)
        print(f"\n{title}: ms per seed-step, {args.seeds} seeds")
        print(
            f"  {'':28s} {'clock: median':>14s} {'min':>9s}   {'processor: median':>17s}"
            f" {'min':>9s}   compile s"
        )
        results[title] = {name: summary(values, cases[name][2]) for name, values in samples.items()}
        for name, row in results[title].items():
            print(
                f"  {name:28s} {row['median_ms']:14.2f} {row['min_ms']:9.2f}  "
                f" {row['median_processor_ms']:17.2f} {row['min_processor_ms']:9.2f}  "
                f" {row['compile_seconds']:9.1f}",
                flush=True,
            )
        if not args.quick:
            write({title: results[title]}, vars(args))


def write(results, arguments):
    """Adds the groups to the file of this device; a group that is there already is replaced."""
    device = jax.devices()[0].device_kind
    environment = {
        "jax": jax.__version__,
        "device": device,
        "machine": platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg(),
        "arguments": arguments,
    }
    path = (
        pathlib.Path(__file__).parent
        / "results"
        / f"convolutions_{device.lower().replace(' ', '_')}.json"
    )
    path.parent.mkdir(exist_ok=True)
    old = json.loads(path.read_text()) if path.exists() else {}
    new = {title: {"environment": environment, "cases": cases} for title, cases in results.items()}
    path.write_text(json.dumps(old | new, indent=1) + "\n")
    print(f"\nwritten: benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
