"""What the checkpoints of a run must agree with before they are taken for its own."""

from typing import NamedTuple

from dgm_jax import native
from dgm_jax.core import has_kernels, json_values
from dgm_jax.run.cells import Group
from dgm_jax.store import environment


class RunIdentity(NamedTuple):
    """A run among all others.

    run_id: the random name that its folder got when it began; a copy of the folder has it too.
    experiment: its name. settings: as config.json has them. data: the identity of its inputs.
    """

    run_id: str
    experiment: str
    settings: dict
    data: dict

    def of_group(self, group: Group, compiled, lanes) -> dict:
        """Of one program's checkpoints: the run, the arms, and what decides about their bits.

        Args:
            group: the arms.
            compiled: their `parallel.Distributed`.
            lanes: arrays or shapes.
        """
        identity = self._asdict() | {
            "arms": [arm.name for arm in group.arms],
            "strategy": compiled.strategy,
            "layout": compiled.layout,
            "jax_settings": environment.jax_settings(),
        }
        convolutions = convolutions_of(compiled, lanes)
        identity |= {"convolutions": convolutions} if convolutions else {}
        return json_values.plain(identity, "identity")


def convolutions_of(compiled, lanes) -> str | None:
    """What computes the convolutions; None for networks that have none."""
    if not has_kernels(lanes.train_state.params):
        return None
    return native.convolutions(platform=compiled.platform)
