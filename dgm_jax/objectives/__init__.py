"""What is minimised: arrays in (logits, log-probabilities), scalars or per-example nats out.

A module a subject. `divergences`: KL, Jensen-Shannon and total variation between known distributions.
`gan`: the losses of likelihood-free learning with their transforms. `penalties`: on a critic's gradient.
`elbo`, `iwae`, `vqvae`: bounds on log p(x), with their terms apart.
No network is known here, and every loss is a mean over examples.
"""

from dgm_jax.objectives import divergences, elbo, gan, iwae, penalties, vqvae

__all__ = ["divergences", "elbo", "gan", "iwae", "penalties", "vqvae"]
