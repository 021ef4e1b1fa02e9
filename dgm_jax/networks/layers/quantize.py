"""Vector quantization as a linen layer for your own modules: any `core.Quantizer`.

The layer returns `core.Quantized`, so that codes and losses reach the caller: a network returns
them with its output, and its loss adds `codebook_loss` and a weight times `commitment_loss`, each
summed over the codes of an example. `nnx_quantize` has the same for NNX.
"""

import flax.linen as nn
import jax

from dgm_jax.core import Array, Quantized, Quantizer, require

COLLECTION = "codebook"


class Quantize(nn.Module):
    """A quantizer as a linen layer: `z [*B, D] -> Quantized`.

    What the quantizer trains by gradient is the parameter `codebook`, and what it moves itself is
    the variable `state` of the collection `codebook`; either is absent if the quantizer has none.
    With `train` the state moves after quantizing, so the collection must be mutable (`from_flax`
    sees to that). A quantizer that starts by k-means starts from the input of `init`. With `mask`,
    bool[*B], False for vectors that only fill up a batch, these move no state.

    Attributes:
        quantizer: any `core.Quantizer`.
        rng_collection: the stream of random numbers that gives the key of an update.

    Raises:
        ConfigError: the vectors have another width, or a state is trained without a key.
    """

    quantizer: Quantizer
    rng_collection: str = "dropout"

    @nn.compact
    def __call__(self, z: Array, train: bool = False, *, mask: Array | None = None) -> Quantized:
        """Quantize z [*B, D]; with `train` the state moves by the vectors that `mask` keeps."""
        padding = {} if mask is None else {"mask": mask}
        if self.is_initializing():
            self._start(z, padding)
        params = self.get_variable("params", "codebook", {})
        state = self.get_variable(COLLECTION, "state", {})
        quantized = self.quantizer.quantize(params, state, z)
        if train and jax.tree.leaves(state) and not self.is_initializing():
            require(
                self.has_rng(self.rng_collection),
                f"training a quantizer with a state needs a key of the stream"
                f" {self.rng_collection!r}",
            )
            key = self.make_rng(self.rng_collection)
            state, _ = self.quantizer.update(key, state, z, quantized, **padding)
            self.put_variable(COLLECTION, "state", state)
        return quantized

    def _start(self, z: Array, padding: dict[str, Array]) -> None:
        """Store the quantizer's first values, once for a module that is called twice."""
        if self.has_variable("params", "codebook") or self.has_variable(COLLECTION, "state"):
            return
        params, state = self.quantizer.init(self.make_rng("params"), z, **padding)
        if jax.tree.leaves(params):
            self.put_variable("params", "codebook", params)
        if jax.tree.leaves(state):
            self.put_variable(COLLECTION, "state", state)
