"""oneDNN's handler called directly: errors, many shapes, several threads, processors without it."""

import concurrent.futures

import backends
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dgm_jax.native import onednn
from dgm_jax.native.compiler import Unavailable

needs_onednn = pytest.mark.skipif(backends.MISSING is not None, reason=str(backends.MISSING))
FORWARD = 0


@needs_onednn
def test_what_does_not_fit_is_an_error_with_shapes():
    x, w = jnp.ones((1, 2, 4, 4, 3)), jnp.ones((1, 3, 3, 5, 2))
    with pytest.raises(
        Exception, match=r"differ in channels.*\[1, 2, 4, 4, 3\].*\[1, 3, 3, 5, 2\]"
    ):
        jax.block_until_ready(onednn.convolution(x, w, (1, 2, 4, 4, 2), 0, (1, 1), (1, 1)))
    with pytest.raises(Exception, match=r"oneDNN \(forward\).*strides \(1, 1\)"):
        # taller than the padded images can give
        jax.block_until_ready(
            onednn.convolution(x, w[..., :3, :], (1, 2, 90, 4, 2), 0, (1, 1), (1, 9))
        )


@needs_onednn
def test_more_shapes_than_are_kept_and_several_threads():
    """260 geometries, where 256 primitives are kept: a 1x1 kernel of 2 doubles each image."""
    shapes = [(1, 2, height, width, 1) for height in range(1, 21) for width in range(1, 14)]
    w = jnp.full((1, 1, 1, 1, 1), 2.0)
    double = lambda x: onednn.convolution(x, w, x.shape, FORWARD, (1, 1), (0, 0))
    images = [jnp.asarray(np.random.default_rng(0).normal(size=s), jnp.float32) for s in shapes]
    run = jax.jit(lambda images: [double(x) for x in images]).lower(images).compile()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: jax.block_until_ready(run(images)), range(2)))
    for results in found:
        for x, y in zip(images, results, strict=True):
            np.testing.assert_array_equal(y, 2 * x)


@pytest.mark.parametrize("system,machine", [("Darwin", "arm64"), ("Linux", "aarch64")])
def test_other_platforms_are_named(monkeypatch, system, machine):
    monkeypatch.setattr(onednn.platform, "system", lambda: system)
    monkeypatch.setattr(onednn.platform, "machine", lambda: machine)
    with pytest.raises(Unavailable, match=f"no package of it for {system} on {machine}"):
        onednn._load.__wrapped__()


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(Unavailable, match=r"no-such-package is not installed \(pip install"):
        onednn._file_of("no-such-package", "lib.so")
    with pytest.raises(Unavailable, match=r"numpy [0-9.]+ has no file lib.so"):
        onednn._file_of("numpy", "lib.so")
