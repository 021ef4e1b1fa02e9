"""The contracts of parts of models: bijections, priors and quantizers."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from dgm_jax.core.types import Array, Key, Metrics, PyTree


class Bijection(NamedTuple):
    """An invertible map with its log-determinant, summed over the event axes.

    Attributes:
        init: `key -> params`.
        forward_and_log_det: `(params, x) -> (y, log|det dy/dx|)`.
        inverse_and_log_det: `(params, y) -> (x, log|det dx/dy|)`.
    """

    init: Callable[[Key], PyTree]
    forward_and_log_det: Callable[[PyTree, Array], tuple[Array, Array]]
    inverse_and_log_det: Callable[[PyTree, Array], tuple[Array, Array]]


class Prior(NamedTuple):
    """A distribution over latents.

    Attributes:
        init: `key -> params`.
        sample: `(params, key, n) -> z[n, ...]`.
        log_prob: `(params, z[*B, ...]) -> [*B]` in nats.
        kl_from_gaussian: `(params, loc [*B, D], scale [*B, D]) -> [*B, D]`,
            KL(N(loc, scale^2) || p) by dimension, in nats; None unless p factorizes over dimensions
            and the KL has a closed form.
    """

    init: Callable[[Key], PyTree]
    sample: Callable[[PyTree, Key, int], Array]
    log_prob: Callable[[PyTree, Array], Array]
    kl_from_gaussian: Callable[[PyTree, Array, Array], Array] | None = None


class Quantized(NamedTuple):
    """The result of quantizing z [*B, D].

    A loss sums over the codes of an example and averages over examples (`objectives.vqvae.loss`),
    so a duplicated batch changes nothing.

    Attributes:
        quantized: [*B, D], the values of the codes, with a gradient to z only.
        codes: int32[*B], or [*B, L] with L codes per vector.
        codebook_loss: shape of codes, squared units of z summed over D; moves codebooks, never z.
        commitment_loss: shape of codes, in the same units; moves z, never a codebook.
    """

    quantized: Array
    codes: Array
    codebook_loss: Array
    commitment_loss: Array


class InitQuantizer(Protocol):
    """`(key, z=None, mask=None) -> (params, state)`.

    z [*B, D] are vectors that a codebook may start from; mask, bool[*B], is False for padding.
    """

    def __call__(
        self, key: Key, z: Array | None = None, /, *, mask: Array | None = None
    ) -> tuple[PyTree, PyTree]: ...


class UpdateQuantizer(Protocol):
    """`(key, state, z, quantized, mask=None) -> (state, metrics)`.

    `quantized` is what `quantize` gave for z [*B, D]; mask, bool[*B], is False for padding. State
    and metrics are those of a call without the padding.
    """

    def __call__(
        self,
        key: Key,
        state: PyTree,
        z: Array,
        quantized: Quantized,
        /,
        *,
        mask: Array | None = None,
    ) -> tuple[PyTree, Metrics]: ...


class Quantizer(NamedTuple):
    """Vectors [*B, D] to codes [*B, *code_shape] and back; see `quantization.QUANTIZERS`.

    `init` and `update` are given a mask only where a batch has one, so a quantizer that moves
    nothing, or is never used with padding, need not take it.

    Attributes:
        width: D.
        num_codes: K, at each level; codes lie in [0, K).
        code_shape: `()` for one code per vector, `(L,)` for L levels (or parts) with a code each.
        init: parameters trained by gradient, and the state that `update` moves; either may have no
            leaves.
        quantize: `(params, state, z) -> Quantized`, the same in training and inference. Its
            `codebook_loss` is added to the loss as it is: zeros where no codebook is trained by
            gradient.
        lookup: `(params, state, codes) -> [*B, D]`, what `quantize` returned for these codes.
        update: called after `quantize`, in training: moving averages, revival of dead codes; no
            gradient passes.
    """

    width: int
    num_codes: int
    code_shape: tuple[int, ...]
    init: InitQuantizer
    quantize: Callable[[PyTree, PyTree, Array], Quantized]
    lookup: Callable[[PyTree, PyTree, Array], Array]
    update: UpdateQuantizer
