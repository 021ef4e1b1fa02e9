"""Single convolutions, forward and both gradients, by every backend and by PyTorch.

    python -m benchmarks.convolutions [--rounds 7] [--steps 3] [--quick]
                                      [--backends onednn plain] [--dtypes float32 bfloat16]

A sample of JAX is one compiled call of a scan of `--steps` steps: the layer, the mean square of its
output, and a small step along both gradients, so that nothing can be left out or done once for
all. PyTorch does the same eagerly, channels last. The batch is 128. Before anything is timed every
backend must give the gradients of "lax" to 1e-4 (bfloat16: 2e-2). Ratios are to PyTorch on the same
layer, type and round. "lax" in a loop on CPU takes seconds a step, so it must be asked for; so do
bfloat16 layers of every side on a processor without instructions for them.
"""

import functools
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import harness
from dgm_jax import native
from dgm_jax.networks.layers import convolution

BATCH, RATE = 128, 1e-3
LAYERS = {  # kernel, stride, in, out, height and width
    "3x3, 128 to 128, 14x14": (3, 1, 128, 128, 14),
    "3x3, 64 to 64, 28x28": (3, 1, 64, 64, 28),
    "3x3, 128 to 128, 7x7": (3, 1, 128, 128, 7),
    "3x3, 32 to 32, 28x28": (3, 1, 32, 32, 28),
    "4x4 stride 2, 64 to 128, 28x28": (4, 2, 64, 128, 28),
    "4x4 stride 2, 1 to 64, 28x28": (4, 2, 1, 64, 28),
    "1x1, 128 to 64, 7x7": (1, 1, 128, 64, 7),
}
DTYPES = {"float32": (jnp.float32, 1e-4), "bfloat16": (jnp.bfloat16, 2e-2)}


def operands(layer, dtype):
    """(images, kernel) as JAX has them."""
    size, _, channels, features, side = LAYERS[layer]
    draw = np.random.default_rng(0).normal
    x = draw(size=(BATCH, side, side, channels))
    w = draw(size=(size, size, channels, features)) / np.sqrt(size * size * channels)
    return jnp.asarray(x, dtype), jnp.asarray(w, dtype)


def loss(x, w, stride, backend):
    """The mean square of the layer's output, in float32."""
    y = convolution.conv(x, w, stride=stride, backend=backend)
    return jnp.mean(jnp.square(y.astype(jnp.float32)))


def step(state, _, stride, backend):
    """A step along both gradients."""
    slopes = jax.grad(loss, (0, 1))(*state, stride, backend)
    return tuple(s - s.dtype.type(RATE) * g for s, g in zip(state, slopes, strict=True)), None


def jax_case(layer, dtype, backend, num_steps) -> harness.Case:
    """`num_steps` steps in one compiled call."""
    one = functools.partial(step, stride=LAYERS[layer][1], backend=backend)
    run = jax.jit(
        lambda state: jax.lax.scan(one, state, None, length=num_steps)[0], donate_argnums=0
    )
    return harness.compiled_case(run, operands(layer, dtype), num_steps)


def torch_case(torch, layer, dtype, num_steps) -> harness.Case:
    """The same, eagerly."""
    size, stride, _, _, side = LAYERS[layer]
    x, w = (np.asarray(a, np.float32) for a in operands(layer, dtype))
    device, kind = harness.torch_device(torch), getattr(torch, jnp.dtype(dtype).name)
    place = dict(device=device, dtype=kind, memory_format=torch.channels_last)
    x = torch.tensor(x.transpose(0, 3, 1, 2).copy()).to(**place).requires_grad_()
    w = torch.tensor(w.transpose(3, 2, 0, 1).copy()).to(**place).requires_grad_()
    (top, bottom), (left, right) = convolution.same_padding((side, side), (size, size), stride)
    even = (top, left) == (bottom, right)
    convolve = torch.nn.functional.conv2d

    def one_step():
        x.grad = w.grad = None
        padded = x if even else torch.nn.functional.pad(x, (left, right, top, bottom))
        y = convolve(padded, w, stride=stride, padding=(top, left) if even else 0)
        y.float().square().mean().backward()
        with torch.no_grad():
            for weight in (x, w):
                weight -= RATE * weight.grad

    return harness.eager_case(torch, one_step, num_steps)


def check(layer, dtype, backend, tolerance) -> float:
    """The largest relative difference of the gradients from those of "lax"."""
    stride = LAYERS[layer][1]
    slope = jax.jit(jax.grad(loss, (0, 1)), static_argnums=(2, 3))
    pairs = zip(
        slope(*operands(layer, dtype), stride, backend),
        slope(*operands(layer, jnp.float32), stride, "lax"),
        strict=True,
    )
    found = max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(b))) for a, b in pairs)
    if not found < tolerance:
        raise SystemExit(f"{backend} differs from lax by {found} on {layer}, {dtype}")
    return found


def backends() -> list[str]:
    """Those that are measured by default."""
    if jax.default_backend() != "cpu":
        return ["lax"]
    return ["plain"] if native.onednn.why_not() else ["onednn", "plain"]


def measure(layer, name, arguments, torch) -> dict:
    """All cases of one layer and type."""
    dtype, tolerance = DTYPES[name]
    checks = {b: check(layer, dtype, b, tolerance) for b in arguments.backends}
    cases = {b: jax_case(layer, dtype, b, arguments.steps) for b in arguments.backends}
    if torch:
        cases["torch"] = torch_case(torch, layer, dtype, arguments.steps)
    samples = harness.measure(cases, arguments.rounds, notify=lambda text: None)
    rows = harness.summarize(cases, samples)
    against = harness.ratios(rows, harness.fastest(rows, "torch"))
    print(f"\n{layer}, {name}\n{harness.table(rows, against, 'steps/s')}", flush=True)
    return {"checks": checks, "cases": rows, "ratios": against}


def main() -> int:
    """Checks, measures, writes."""
    parser = harness.parser(__doc__.splitlines()[0], rounds=7, steps=3, seeds=[1])
    known = list(native.CONVOLUTIONS)
    parser.add_argument("--backends", nargs="+", choices=known, default=backends())
    parser.add_argument("--dtypes", nargs="+", choices=list(DTYPES), default=list(DTYPES))
    arguments, torch = harness.parse(parser), harness.torch_or_none()
    before = harness.surroundings()
    names = list(LAYERS)[-1:] if arguments.quick else LAYERS
    results = {
        f"{layer}, {name}": measure(layer, name, arguments, torch)
        for layer, name in itertools.product(names, arguments.dtypes)
    }
    if not arguments.quick:
        content = {
            "benchmark": "convolutions",
            "unit": "steps/s",
            "arguments": vars(arguments),
            "environment": before,
            "layers": results,
        }
        print(f"written: benchmarks/results/{harness.write('convolutions', content).name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
