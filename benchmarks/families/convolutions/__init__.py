"""Single convolutions with both gradients: a step is the layer, the mean square of its output, and
a small step along both gradients, so that nothing can be left out or done once for all. By the
convolutions that the library takes where nothing is asked for, by oneDNN, by plain JAX, and by
PyTorch, channels last."""

from benchmarks import arithmetic
from benchmarks.contract import PEER, Benchmark, Side

BATCH, RATE = 128, 1e-3
# name -> kernel, stride, in, out, height and width of the input
LAYERS = {
    "3x3_128_to_128_14x14": (3, 1, 128, 128, 14),
    "3x3_64_to_64_28x28": (3, 1, 64, 64, 28),
    "3x3_128_to_128_7x7": (3, 1, 128, 128, 7),
    "3x3_32_to_32_28x28": (3, 1, 32, 32, 28),
    "4x4_stride_2_64_to_128_28x28": (4, 2, 64, 128, 28),
    "4x4_stride_2_1_to_64_28x28": (4, 2, 1, 64, 28),
    "3x3_128_to_32_7x7": (3, 1, 128, 32, 7),
    "3x3_16_to_16_14x14": (3, 1, 16, 16, 14),
    "4x4_stride_2_16_to_32_14x14": (4, 2, 16, 32, 14),
    "1x1_128_to_64_7x7": (1, 1, 128, 64, 7),
    "1x1_32_to_128_7x7": (1, 1, 32, 128, 7),
    "1x1_128_to_128_14x14": (1, 1, 128, 128, 14),
}
DTYPES = ("float32", "bfloat16")


def _benchmark(layer: str, dtype: str) -> Benchmark:
    kernel, stride, channels, features, side = LAYERS[layer]
    options = {"layer": layer, "dtype": dtype, "steps": 3}
    forward = BATCH * arithmetic.convolution(kernel, channels, features, side // stride)
    sides = {
        "ours": Side("convolutions.ours:steps", options),
        "ours, oneDNN": Side("convolutions.ours:steps", {**options, "backend": "onednn"}),
        "ours, plain": Side("convolutions.ours:steps", {**options, "backend": "plain"}),
        "torch eager, channels last": Side("convolutions.peer:steps", options, PEER),
    }
    return Benchmark(
        name=f"convolution_{layer}_{dtype}",
        family="convolutions",
        size=f"{layer.replace('_', ' ')}, {dtype}",
        unit="steps",
        sides=sides,
        flops=3 * forward if dtype == "float32" else None,
        check=Side("convolutions.check:check", {"layer": layer, "dtype": dtype}),
    )


BENCHMARKS = [_benchmark(layer, dtype) for dtype in DTYPES for layer in LAYERS]
