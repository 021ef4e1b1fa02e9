"""Vector quantization as an NNX layer, see `dgm_jax.networks.layers.quantize`."""

from flax import nnx

from dgm_jax.core import Array, Quantized, Quantizer


class QuantizerState(nnx.Variable):
    """What a quantizer moves in training, without gradients."""


class NnxQuantize(nnx.Module):
    """A quantizer as an NNX layer: `z [*B, D] -> Quantized`.

    `params` holds what the quantizer trains by gradient (`nnx.Param`) and `state` what it moves
    (`QuantizerState`). As in `nnx.BatchNorm`, the state moves unless `use_running_average`, which
    `module.eval()` sets and `module.train()` resets. Vectors for which `mask`, bool[*B], is False
    only fill up a batch and move nothing.

    Args:
        quantizer: any `core.Quantizer`.
        z: [*B, D], vectors for a quantizer that starts by k-means.
        rngs: the stream `params` starts the quantizer, `dropout` is for its updates.
        use_running_average: leave the state as it is.
    """

    def __init__(
        self,
        quantizer: Quantizer,
        z: Array | None = None,
        *,
        rngs: nnx.Rngs,
        use_running_average: bool = False,
    ) -> None:
        params, state = quantizer.init(rngs.params(), z)
        self.quantizer = quantizer
        self.use_running_average = use_running_average
        self.params = nnx.Param(params)
        self.state = QuantizerState(state)
        self.rngs = rngs["dropout"].fork()

    def __call__(self, z: Array, *, mask: Array | None = None) -> Quantized:
        """Quantize z [*B, D]; unless `use_running_average` the state moves by those in `mask`."""
        params = self.params.get_value()
        state = self.state.get_value()
        quantized = self.quantizer.quantize(params, state, z)
        if not self.use_running_average:
            padding = {} if mask is None else {"mask": mask}
            state, _ = self.quantizer.update(self.rngs(), state, z, quantized, **padding)
            self.state.set_value(state)
        return quantized
