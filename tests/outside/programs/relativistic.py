"""A relativistic loss (Jolicoeur-Martineau 2019; the pairing form of Huang et al. 2024, "The GAN is
dead; long live the GAN!", eq. 2), which no loss of the library is."""

import jax
import jax.numpy as jnp

from dgm_jax.objectives.gan import GanLoss


def _discriminator(real_logits, fake_logits):
    return jnp.mean(jax.nn.softplus(fake_logits - real_logits))


def _generator(real_logits, fake_logits):
    return jnp.mean(jax.nn.softplus(real_logits - fake_logits))


RELATIVISTIC = GanLoss(_discriminator, _generator)
