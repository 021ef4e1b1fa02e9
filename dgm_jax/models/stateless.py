"""The check of recipes that apply a network in its inference form only, even in training."""

import jax

from dgm_jax.core import PyTree, require


def require_stateless(recipe: str, state: dict[str, PyTree]) -> None:
    """Refuse networks with state, for a recipe that would never update it.

    A network's state (`core.Network`), such as the statistics of batch normalization, changes only
    where it is applied with `train=True`. A recipe that applies its networks with `train=False`
    throughout would leave it at its initial values.

    Args:
        recipe: what is being made, for the message, such as "a VAE".
        state: the state of each network by part, as `Network.init` gave it.

    Raises:
        ConfigError: a part has state; the message names the part, the contents of its state, and
            the remedy.
    """
    for part, part_state in state.items():
        is_dict = isinstance(part_state, dict)
        contents = sorted(part_state) if is_dict else type(part_state).__name__
        require(
            not jax.tree.leaves(part_state),
            f"{recipe} cannot train its {part}: the network has state ({contents}), which this"
            " recipe never updates; give it a network without state, such as one without batch"
            " normalization (GroupNorm and LayerNorm have none)",
        )
