"""The work of programs whose work is known, and what of it sums over a batch."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dgm_jax.run.batch_sums import BatchSum, batch_sums
from dgm_jax.run.operations import Work, count

X, W = jnp.zeros((6, 4)), jnp.zeros((4, 5))


def work(function, *arguments):
    return count(jax.make_jaxpr(function)(*arguments))


def test_a_product_of_matrices():
    assert work(jnp.dot, X, W) == Work(2 * 6 * 4 * 5, 0, 4 * (24 + 20 + 30), 0)


def test_a_chain_reads_and_writes_once():
    """x + 1 squared plus one: three operations an element, one read and one write."""
    assert work(lambda x: (x + 1) ** 2 + 1, X) == Work(0, 3 * 24, 2 * 4 * 24, 0)


def test_an_elementary_function_with_two_users_is_written_and_a_sum_is_not():
    """exp(x) is made once and read twice; x + 1 is made anew by each user."""

    def both(y):
        return y * 2, y + 3

    assert work(lambda x: both(jnp.exp(x)), X) == Work(0, 3 * 24, 6 * 4 * 24, 4 * 24)
    assert work(lambda x: both(x + 1), X) == Work(0, 3 * 24, 4 * 4 * 24, 0)


def test_a_transposed_product_is_copied():
    """The product is written, read and written again; the sum reads that and writes."""
    found = work(lambda x, w: jnp.dot(x, w).T + 1, X, W)
    assert found == Work(2 * 6 * 4 * 5, 30, 4 * (24 + 20 + 30 + 4 * 30), 2 * 4 * 30)


def test_what_no_result_needs_is_not_counted():
    def function(x, w):
        jnp.dot(x, w)
        return x + 1

    assert work(jax.jit(function), X, W) == work(lambda x, w: x + 1, X, W)


def test_loops_and_conditions():
    turn = lambda x, _: (jnp.dot(x, jnp.zeros((4, 4))), None)
    scanned = work(lambda x: lax.scan(turn, x, None, length=7)[0], X)
    assert scanned.products == 7 * 2 * 6 * 4 * 4
    unknown = work(lambda x, n: lax.fori_loop(0, n, lambda i, x: turn(x, i)[0], x), X, 3)
    assert unknown.products == 2 * 6 * 4 * 4
    branches = lambda x, p: lax.cond(p, lambda x: turn(x, 0)[0], lambda x: x + 1, x)
    assert work(branches, X, True).products == 2 * 6 * 4 * 4


def test_a_loop_copies_what_it_overwrites_while_something_else_reads_it():
    """w is read by the product that its new value does not wait for; where it waits, or nothing
    else reads it, w is overwritten in place."""

    def moved(turn):
        w = jnp.zeros((4, 4))
        y = jnp.zeros((6, 4))
        return work(lambda n: lax.fori_loop(0, n, lambda i, at: turn(*at), (w, y)), 3).moved

    index = 2 * 4  # a turn reads and writes its number, and the condition reads two
    condition = 2 * 4 + 1
    product = 4 * (24 + 16 + 24)
    update = 2 * 4 * 16
    alone = moved(lambda w, y: (w + 1, y + 1))
    assert alone == index + condition + update + 2 * 4 * 24
    read = moved(lambda w, y: (w + 1, jnp.dot(y, w)))
    assert read == index + condition + update + product + 2 * 4 * 16
    waits = moved(lambda w, y: (w + jnp.sum(jnp.dot(y, w)), y))
    waiting = product + 4 * 24 + 4  # the product is summed, and the sum added
    assert waits == index + condition + update + waiting + 4


def test_a_scan_copies_what_it_carries_and_not_what_it_goes_along():
    """a stays the same, w is carried, and what is read from xs and written to ys is neither."""
    w, a = jnp.zeros((4, 4)), jnp.zeros((6, 4))
    turn = lambda a: lambda w, x: (w + x, jnp.dot(a, w))
    scanned = work(lambda a, w, xs: lax.scan(turn(a), w, xs), a, w, jnp.zeros((5, 4, 4)))
    product = 4 * (24 + 16 + 24)
    assert scanned.moved == 5 * (product + 3 * 4 * 16 + 2 * 4 * 16)


def test_a_sum_with_one_factor_is_computed_anew_by_its_users():
    """m / 2 + x / 2 is written as a result, and read again as m and x by what uses it."""
    y = jnp.ones((6, 4))
    shared = lambda c: lambda m, x: (lambda new: (new, new * y))(c * m + 0.5 * x)
    size = 4 * 24
    assert work(shared(0.5), X, X).moved == 3 * size + 4 * size
    assert work(shared(0.25), X, X).moved == 3 * size + 3 * size
    assert work(lambda x: 1j * x, X.astype(jnp.complex64)).moved == 2 * 2 * size


@pytest.mark.parametrize("stride, padding, dilation", [(1, 1, 1), (2, 1, 1), (1, 2, 2), (2, 0, 1)])
def test_a_convolution_has_an_operation_for_each_tap_on_an_input(stride, padding, dilation):
    """Counted one by one for [2, 5, 6, 3] images and [3, 2, 3, 4] kernels."""
    images, kernel = jnp.zeros((2, 5, 6, 3)), jnp.zeros((3, 2, 3, 4))

    def function(images, kernel):
        return lax.conv_general_dilated(
            images,
            kernel,
            (stride, stride),
            [(padding, padding)] * 2,
            lhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    out = jax.eval_shape(function, images, kernel).shape
    sizes = [(n - 1) * dilation + 1 for n in (5, 6)]
    pairs = 0
    for i, j, u, v in itertools.product(range(out[1]), range(out[2]), range(3), range(2)):
        at = [i * stride + u - padding, j * stride + v - padding]
        inside = all(0 <= a < n and a % dilation == 0 for a, n in zip(at, sizes, strict=True))
        pairs += inside
    assert work(function, images, kernel).products == 2 * pairs * 2 * 3 * 4


def test_sums_over_a_batch():
    """A regression: the gradient of its weights, of its offset, and the mean loss."""

    def step(w, c, x):
        loss = lambda w, c: jnp.mean((jnp.tanh(x @ w) + c) ** 2)
        return jax.value_and_grad(loss, argnums=(0, 1))(w, c)

    trace = lambda size: jax.make_jaxpr(step)(W, jnp.zeros(5), jnp.zeros((size, 4)))
    found = batch_sums(trace(6), trace(12), {(4, 5), (5,)})
    assert found is not None
    totals = {(one.what, one.num_bytes) for one in found}
    assert totals == {("gradients", 80.0), ("gradients", 20.0), ("scalars", 4.0)}


def test_joined_batches_are_spread_anew():
    def step(x):
        return jnp.concatenate([x, -x]) * 2

    trace = lambda size: jax.make_jaxpr(step)(jnp.zeros((size, 2)))
    assert batch_sums(trace(3), trace(6), set()) == [BatchSum("joined batches", 48.0, (6, 2), 1.0)]


def test_a_step_that_changes_with_its_batch_is_not_followed():
    step = lambda x: jnp.sum(x) if len(x) > 3 else jnp.sum(x) + 1
    trace = lambda size: jax.make_jaxpr(step)(np.zeros((size, 2), np.float32))
    assert batch_sums(trace(3), trace(6), set()) is None
