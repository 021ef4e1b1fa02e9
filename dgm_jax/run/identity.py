"""What the checkpoints of a run must match before the run continues from them."""

from typing import Any, NamedTuple

from dgm_jax import native
from dgm_jax.core import Lane, has_kernels, json_values
from dgm_jax.parallel.devices import Distributed
from dgm_jax.run.cells import Group
from dgm_jax.run.settings import StudyConfig, may_lack
from dgm_jax.store import environment


class RunIdentity(NamedTuple):
    """What tells a run from all others.

    Attributes:
        run_id: the random name that its folder got when it began; copies of the folder keep it.
        experiment: its name.
        settings: as config.json has them.
        data: the identity of its inputs.
    """

    run_id: str
    experiment: str
    settings: dict
    data: dict

    def of_group(self, group: Group, compiled: Distributed, lanes: Lane) -> dict:
        """The identity of a program's checkpoints: the run, the arms, and what decides their bits.

        Args:
            group: the arms.
            compiled: their program.
            lanes: arrays or shapes.

        Returns:
            A dictionary of JSON values.
        """
        identity = self._asdict() | {
            "arms": [arm.name for arm in group.arms],
            "strategy": compiled.strategy,
            "layout": compiled.layout,
            "jax_settings": environment.jax_settings(),
        }
        if compiled.microbatches > 1:  # other rounding and, in most losses, other noise
            identity |= {"microbatches": compiled.microbatches}
        convolutions = convolutions_of(compiled, lanes)
        identity |= {"convolutions": convolutions} if convolutions else {}
        return json_values.plain(identity, "identity")


def usual_of(config: StudyConfig) -> dict[str, Any]:
    """The values of what the identity of a program leaves out.

    Args:
        config: settings of the run.

    Returns:
        A dictionary of JSON values, nested as `RunIdentity.of_group`.
    """
    return {"microbatches": 1, "settings": may_lack(type(config))}


def convolutions_of(compiled: Distributed, lanes: Lane) -> str | None:
    """The implementation that computes the convolutions.

    Args:
        compiled: the program of a group.
        lanes: arrays or shapes.

    Returns:
        Its name; None for networks without convolutions.
    """
    if not has_kernels(lanes.train_state.params):
        return None
    return native.convolutions(platform=compiled.platform)
