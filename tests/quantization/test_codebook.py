"""Codebooks that follow their vectors: moving average, revival, k-means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import KMeans

from dgm_jax import quantization
from dgm_jax.core import ConfigError
from dgm_jax.quantization import codebook_ema

KEY = jax.random.key(0)


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("decay", [0.99, 0.8, 0.0])
def test_ten_steps_against_the_closed_form(decay, offset):
    """m_t = d^t m_0 + (1 - d) sum_s d^(t-s) sum z, N_t alike, e = m / N, in float64."""
    codebook, batches = draw(0, 6, 3) + offset, draw(1, 10, 50, 3) + offset
    codes = np.random.default_rng(2).integers(0, 4, (10, 50))  # codes 4 and 5 are never used
    state = codebook_ema.init(codebook)
    step = jax.jit(codebook_ema.update)
    for batch, chosen in zip(batches, codes, strict=True):
        state = step(state, batch, jnp.asarray(chosen), decay)
    one_hot = np.eye(6)[codes]
    weights = (1 - decay) * decay ** np.arange(9, -1, -1.0)
    counts = decay**10 + np.einsum("t,tnk->k", weights, one_hot)
    sums = decay**10 * np.asarray(codebook, np.float64)
    sums = sums + np.einsum("t,tnk,tnd->kd", weights, one_hot, np.asarray(batches, np.float64))
    np.testing.assert_allclose(state.counts, counts, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        state.codebook[:4] - offset,
        (sums / np.maximum(counts, 1e-9)[:, None])[:4] - offset,
        atol=2e-6 + offset * 5e-7,
    )
    np.testing.assert_array_equal(state.codebook[4:], codebook[4:])


def test_a_code_never_used_stays_bit_for_bit_even_after_its_count_has_vanished():
    codebook = draw(0, 5, 4)
    z, codes = draw(1, 20, 4), jnp.zeros(20, int)
    state = jax.lax.fori_loop(
        0, 3000, lambda _, s: codebook_ema.update(s, z, codes, 0.9), codebook_ema.init(codebook)
    )
    assert state.counts[1] == 0
    np.testing.assert_array_equal(state.codebook[1:], codebook[1:])
    np.testing.assert_allclose(state.codebook[0], z.mean(0), atol=1e-6)
    back = codebook_ema.update(state, z, jnp.full(20, 3), 0.9)
    np.testing.assert_allclose(back.codebook[3], z.mean(0), atol=1e-6)
    np.testing.assert_allclose(back.counts[3], 2, rtol=1e-5)


def test_padding_and_parts_of_a_batch():
    state, z, codes = codebook_ema.init(draw(0, 5, 4)), draw(1, 20, 4), np.arange(20) % 5
    padded = np.where(np.arange(20) < 12, codes, -1)
    whole = codebook_ema.update(state, z[:12], codes[:12])
    np.testing.assert_allclose(
        codebook_ema.update(state, z, padded).codebook, whole.codebook, rtol=1e-6
    )
    np.testing.assert_array_equal(
        codebook_ema.update(state, z, np.where(padded < 0, 5, padded)).counts, whole.counts
    )
    first, second = (
        codebook_ema.statistics(state, z[s], codes[s]) for s in (slice(0, 7), slice(7, 20))
    )
    parts = codebook_ema.apply(state, jax.tree.map(jnp.add, first, second), 0.9)
    together = codebook_ema.update(state, z, codes, 0.9)
    np.testing.assert_allclose(parts.codebook, together.codebook, rtol=1e-5, atol=1e-6)


def test_bad_arguments():
    state = codebook_ema.init(jnp.zeros((5, 4)))
    with pytest.raises(ConfigError, match="decay must be in"):
        codebook_ema.update(state, jnp.zeros((3, 4)), jnp.zeros(3, int), 1.5)
    with pytest.raises(ConfigError, match=r"z must be \[\*B, 4\]"):
        codebook_ema.update(state, jnp.zeros((3, 4)), jnp.zeros(2, int))
    with pytest.raises(ConfigError, match="codebook must be"):
        codebook_ema.init(jnp.zeros((0, 4)))
    with pytest.raises(ConfigError, match="not empty"):
        codebook_ema.revive(KEY, state, jnp.zeros((0, 4)), 1.0)


def test_revival_cures_a_collapsed_codebook():
    z = draw(0, 4096, 8)
    collapsed = codebook_ema.init(jnp.full((1024, 8), 5.0).at[:2].set(0.0))
    codes = quantization.nearest_code(z, collapsed.codebook)
    assert int(quantization.codebook_usage(codes, 1024).num_used) == 1
    state = jax.lax.fori_loop(0, 20, lambda _, s: codebook_ema.update(s, z, codes, 0.9), collapsed)
    revived = jax.jit(codebook_ema.revive)(KEY, state, z, 0.5)
    usage = quantization.codebook_usage(quantization.nearest_code(z, revived.codebook), 1024)
    assert int(usage.num_used) > 0.9 * 1024
    dead = np.asarray(state.counts) < 0.5
    assert dead.sum() == 1023
    np.testing.assert_array_equal(revived.codebook[~dead], state.codebook[~dead])
    np.testing.assert_array_equal(revived.counts[~dead], state.counts[~dead])
    np.testing.assert_array_equal(revived.counts[dead], 1)
    rows = {row.tobytes() for row in np.asarray(z)}
    fresh = [row.tobytes() for row in np.asarray(revived.codebook)[dead]]
    assert set(fresh) <= rows and len(set(fresh)) == len(fresh)
    # Nothing of the old place is left: after a step the code is what a fresh state would be.
    after = codebook_ema.update(revived, z, quantization.nearest_code(z, revived.codebook))
    chosen = np.asarray(quantization.nearest_code(z, revived.codebook))
    fresh = codebook_ema.update(codebook_ema.init(revived.codebook), z, chosen)
    np.testing.assert_array_equal(after.codebook[dead], fresh.codebook[dead])


def test_revival_with_more_dead_codes_than_vectors_and_a_threshold_above_one():
    state = codebook_ema.init(draw(0, 10, 2))
    revived = codebook_ema.revive(KEY, state, draw(1, 4, 2), 3.0)
    np.testing.assert_array_equal(revived.counts, 3)
    assert len(np.unique(revived.codebook, axis=0)) == 4
    assert np.all(
        codebook_ema.revive(KEY, revived, draw(2, 4, 2), 3.0).codebook == revived.codebook
    )


def test_seeds_together_are_each_alone():
    keys, z = jax.random.split(KEY, 3), draw(0, 3, 200, 4)

    def train(key, z):
        key_start, key_revive = jax.random.split(key)
        state = codebook_ema.init(
            quantization.kmeans(key_start, z, 16, 3, start="plus_plus").codebook
        )
        for _ in range(2):
            state = codebook_ema.update(state, z, quantization.nearest_code(z, state.codebook), 0.5)
        return codebook_ema.revive(key_revive, state, z, 5.0)

    together = jax.jit(jax.vmap(train))(keys, z)
    for lane in range(3):
        alone = jax.jit(train)(keys[lane], z[lane])
        np.testing.assert_allclose(together.codebook[lane], alone.codebook, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(together.counts[lane], alone.counts, rtol=1e-6)


@pytest.mark.parametrize("num_iterations", [1, 5, 30])
def test_kmeans_has_the_inertia_of_scikit_learn(num_iterations):
    z = np.concatenate(
        [np.asarray(draw(s, 150, 3)) * 0.6 + 4 * np.asarray(draw(s + 50, 1, 3)) for s in range(6)]
    )
    start = z[::90][:8]
    ours = quantization.kmeans(KEY, jnp.asarray(z), 8, num_iterations, codebook=jnp.asarray(start))
    theirs = KMeans(8, init=start, n_init=1, max_iter=num_iterations, tol=0, algorithm="lloyd").fit(
        z.astype(np.float64)
    )
    assert np.bincount(theirs.labels_, minlength=8).min() > 0
    np.testing.assert_allclose(ours.inertia, theirs.inertia_, rtol=1e-4)
    np.testing.assert_allclose(ours.codebook, theirs.cluster_centers_, atol=1e-3)
    np.testing.assert_array_equal(ours.codes, theirs.labels_)


def test_an_empty_cluster_keeps_its_place():
    z = draw(0, 50, 2)
    start = jnp.concatenate([z[:3], jnp.full((1, 2), 1e4)])
    found = quantization.kmeans(KEY, z, 4, 10, codebook=start)
    np.testing.assert_array_equal(found.codebook[3], 1e4)
    for code in range(3):
        np.testing.assert_allclose(found.codebook[code], z[found.codes == code].mean(0), atol=1e-5)


@pytest.mark.parametrize("start", ["random", "plus_plus"])
def test_a_start_is_made_of_distinct_vectors(start):
    z = draw(0, 40, 3)
    found = quantization.kmeans(KEY, z.reshape(8, 5, 3), 40, 0, start=start)
    np.testing.assert_array_equal(np.unique(found.codebook, axis=0), np.unique(z, axis=0))
    assert float(found.inertia) == 0 and found.codes.shape == (8, 5)


def test_plus_plus_draws_by_squared_distance():
    """Of the points 0, 1, 3: P(second = 3 | first = 0) = 9 / (1 + 9), and so on."""
    z = jnp.array([[0.0], [1.0], [3.0]])
    draws = jax.jit(
        jax.vmap(lambda key: quantization.kmeans(key, z, 2, 0, start="plus_plus").codebook[:, 0])
    )
    pairs = np.asarray(draws(jax.random.split(KEY, 6000)))
    for first, second, expected in ((0, 3, 9 / 10), (1, 3, 4 / 5), (3, 0, 9 / 13)):
        from_here = np.asarray(pairs[pairs[:, 0] == first, 1])
        error = np.sqrt(expected * (1 - expected) / len(from_here))
        assert abs(np.mean(from_here == second) - expected) < 4.5 * error
    assert abs(np.mean(np.asarray(pairs[:, 0]) == 0) - 1 / 3) < 4.5 * np.sqrt(2 / 9 / 6000)


def test_kmeans_bad_arguments():
    with pytest.raises(ConfigError, match=r"num_codes must lie in \[1, 5\].*got 6"):
        quantization.kmeans(KEY, jnp.zeros((5, 2)), 6)
    with pytest.raises(ConfigError, match="did you mean 'plus_plus'"):
        quantization.kmeans(KEY, jnp.zeros((5, 2)), 2, start="plusplus")
    with pytest.raises(ConfigError, match=r"codebook must be \(2, 2\); got \(3, 2\)"):
        quantization.kmeans(KEY, jnp.zeros((5, 2)), 2, codebook=jnp.zeros((3, 2)))


def test_ten_steps_agree_with_vector_quantize_pytorch():
    """Both start as if every code stood for one vector; its Laplace smoothing is turned off, ours
    has none."""
    peer, torch = pytest.importorskip("vector_quantize_pytorch"), pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    codebook = rng.normal(size=(16, 4)).astype(np.float32)
    quantizer = peer.VectorQuantize(
        dim=4, codebook_size=16, decay=0.9, eps=0.0, rotation_trick=False
    )
    for name in ("embed", "embed_avg"):
        getattr(quantizer._codebook, name).data.copy_(torch.tensor(codebook)[None])
    quantizer.train()
    state = codebook_ema.init(jnp.asarray(codebook))
    for step in range(10):
        z = rng.normal(size=(1, 200, 4)).astype(np.float32) + 0.1 * step
        codes = quantization.nearest_code(jnp.asarray(z), state.codebook)
        _, theirs, _ = quantizer(torch.tensor(z))
        np.testing.assert_array_equal(codes, theirs.numpy())
        state = codebook_ema.update(state, jnp.asarray(z), codes, 0.9)
        np.testing.assert_allclose(
            state.codebook, quantizer._codebook.embed[0].numpy(), rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(state.counts, quantizer._codebook.cluster_size[0].numpy(), rtol=1e-4)
    assert np.abs(state.codebook - codebook).max() > 0.1
