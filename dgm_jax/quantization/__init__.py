"""Vectors to codes and back.

`nearest_code` searches a codebook without an N x K matrix; `vector_quantize` adds the gradients and
losses of the VQ-VAE; `multi_head_quantize` and `residual_quantize` do so with several codebooks,
each with its inverse `..._lookup`. `codebook_ema` lets a codebook follow its vectors and revives
dead codes, `kmeans` initializes a codebook, `finite_scalar` needs none, and `codebook_usage` says
how much of one is in use. Losses are per vector: sum over the vectors of an example, average over
examples. `QUANTIZERS` holds all of these behind one contract, `core.Quantizer`.
"""

from dgm_jax.quantization import codebook_ema, finite_scalar
from dgm_jax.quantization._several_codebooks import product_quantizer, residual_quantizer
from dgm_jax.quantization.clustering import KMeans, kmeans
from dgm_jax.quantization.codebook_ema import CodebookState, CodebookStatistics
from dgm_jax.quantization.finite_scalar import FiniteScalar, finite_scalar_quantize
from dgm_jax.quantization.nearest import nearest_code
from dgm_jax.quantization.product import multi_head_lookup, multi_head_quantize
from dgm_jax.quantization.quantizers import (
    QUANTIZERS,
    codebook_loss_quantizer,
    finite_scalar_quantizer,
    moving_average_quantizer,
)
from dgm_jax.quantization.residual import residual_lookup, residual_quantize
from dgm_jax.quantization.usage import (
    CodebookUsage,
    codebook_usage,
    count_codes,
    miller_madow_perplexity,
    usage_of_counts,
)
from dgm_jax.quantization.vector import (
    GRADIENTS,
    check_codes,
    l2_normalize,
    quantize_with_codes,
    vector_lookup,
    vector_quantize,
)

__all__ = [
    "GRADIENTS",
    "QUANTIZERS",
    "CodebookState",
    "CodebookStatistics",
    "CodebookUsage",
    "FiniteScalar",
    "KMeans",
    "check_codes",
    "codebook_ema",
    "codebook_loss_quantizer",
    "codebook_usage",
    "count_codes",
    "finite_scalar",
    "finite_scalar_quantize",
    "finite_scalar_quantizer",
    "kmeans",
    "l2_normalize",
    "miller_madow_perplexity",
    "moving_average_quantizer",
    "multi_head_lookup",
    "multi_head_quantize",
    "nearest_code",
    "product_quantizer",
    "quantize_with_codes",
    "residual_lookup",
    "residual_quantize",
    "residual_quantizer",
    "usage_of_counts",
    "vector_lookup",
    "vector_quantize",
]
