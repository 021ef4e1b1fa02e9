"""What is minimised: arrays in (logits, log-probabilities), scalars or per-example nats out.

A module a subject. `divergences`: KL, Jensen-Shannon and total variation between known distributions.
`gan`: the losses of likelihood-free learning with their transforms. `penalties`: on a critic's gradient.
No network is known here, and every loss is a mean over examples.
"""

from dgm_jax.objectives import divergences, gan, penalties

__all__ = ["divergences", "gan", "penalties"]
