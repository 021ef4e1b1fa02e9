"""What a recipe asks of its networks that calls them in inference form only, also in training."""

import jax

from dgm_jax.core import PyTree, require


def require_stateless(recipe: str, state: dict[str, PyTree]) -> None:
    """Refuses networks with state of their own, for a recipe that would never update it.

    A network's state (`core.Network`), such as the statistics of batch normalisation, changes only
    where it is applied with `train=True`. A recipe that applies its networks with `train=False`
    throughout leaves it at its first values.

    Args:
      recipe: what is being made, for the message, such as "a VAE".
      state: the state of each network by part, as `Network.init` gave it.

    Raises:
      ConfigError: a part has state; the message names the part, what its state holds, and the cure.
    """
    for part, held in state.items():
        kept = sorted(held) if isinstance(held, dict) else type(held).__name__
        require(
            not jax.tree.leaves(held),
            f"{recipe} cannot train its {part}: the network has state ({kept}), which this recipe"
            " never updates; give it a network without state, such as one without batch"
            " normalisation (GroupNorm and LayerNorm have none)",
        )
