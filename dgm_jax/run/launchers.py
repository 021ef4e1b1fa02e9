"""Which processes a run consists of: by flags, or by what a launcher says. Imports no JAX."""

from collections.abc import Mapping
from typing import NamedTuple

from dgm_jax.run.settings import LaunchConfig

AUTO = "auto"


class NotConnected(ValueError):
    """Flags or variables that say only a part of what connects the processes of a run."""


class Processes(NamedTuple):
    """The processes of a run, and which one this is.

    Attributes:
        coordinator: HOST:PORT at which process 0 listens; None for JAX to ask the launcher.
        count: number of processes; None likewise.
        index: number of this process, from 0; None likewise.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None

    def __str__(self) -> str:
        return "a process" if self.index is None else f"process {self.index} of {self.count}"


class Launcher(NamedTuple):
    """The variables by which a launcher tells a process who it is.

    Attributes:
        name: of the launcher.
        count: the variable with the number of processes; of a list, its length.
        index: that with the number of this process.
        needed: others without which JAX does not recognize the launcher.
        start: the command by which it starts processes.
    """

    name: str
    count: str
    index: str
    needed: tuple[str, ...]
    start: str


LAUNCHERS = (
    Launcher(
        "SLURM",
        "SLURM_NTASKS",
        "SLURM_PROCID",
        ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_LOCALID"),
        "srun",
    ),
    Launcher(
        "Open MPI",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_RANK",
        ("OMPI_COMM_WORLD_LOCAL_RANK",),
        "mpirun",
    ),
    Launcher("a TPU pod", "TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID", (), "the pod's job"),
)


def asked(launch: LaunchConfig, environment: Mapping[str, str]) -> Processes | None:
    """Work out the processes of a run.

    Args:
        launch: --coordinator, --num_processes and --process_id.
        environment: the variables of this process.

    Returns:
        The processes; None for one process on its own.

    Raises:
        NotConnected: a part is missing or contradicts another; the message names it.
    """
    if launch.coordinator == AUTO:
        _require(
            launch.num_processes == 0 and launch.process_id < 0,
            "--coordinator auto leaves --num_processes and --process_id to the launcher too",
        )
        return Processes()
    if launch.num_processes or launch.process_id >= 0:
        return _by_flags(launch)
    told = _by_launcher(environment)
    if not launch.coordinator:
        return told
    _require(
        told is not None,
        "--coordinator needs --num_processes N and --process_id I as well, since no launcher says"
        " them (known: " + ", ".join(launcher.name for launcher in LAUNCHERS) + ")",
    )
    assert told is not None
    return told._replace(coordinator=_address(launch.coordinator))


def _by_flags(launch: LaunchConfig) -> Processes | None:
    given = {
        "--coordinator HOST:PORT": bool(launch.coordinator),
        "--num_processes N": launch.num_processes != 0,
        "--process_id I": launch.process_id >= 0,
    }
    if launch.num_processes == 1 and launch.process_id <= 0:
        return None
    missing = [flag for flag, is_given in given.items() if not is_given]
    _require(not missing, f"several processes need {' and '.join(missing)} as well")
    _require(
        launch.num_processes > 0, f"num_processes must be positive, got {launch.num_processes}"
    )
    _require(
        launch.process_id < launch.num_processes,
        f"process_id must be 0 to {launch.num_processes - 1} for --num_processes"
        f" {launch.num_processes}, got {launch.process_id}",
    )
    return Processes(_address(launch.coordinator), launch.num_processes, launch.process_id)


def _by_launcher(environment: Mapping[str, str]) -> Processes | None:
    """What the first launcher says that started more than one process."""
    for launcher in LAUNCHERS:
        count = _count(launcher, environment)
        if count > 1:
            return _told(launcher, count, environment)
    return None


def _count(launcher: Launcher, environment: Mapping[str, str]) -> int:
    text = environment.get(launcher.count, "").strip()
    if launcher.count.endswith("HOSTNAMES"):
        return len([name for name in text.split(",") if name.strip()])
    _require(text.isdigit() or not text, f"{launcher.count} must be a number, got {text!r}")
    return int(text or 0)


def _told(launcher: Launcher, count: int, environment: Mapping[str, str]) -> Processes:
    missing = [name for name in (launcher.index, *launcher.needed) if name not in environment]
    said = f"{launcher.name} has {count} processes ({launcher.count})"
    alone = "for a run in one process, give --num_processes 1"
    _require(
        not missing,
        f"{said}, but {', '.join(missing)} is not set, so this process was not started by"
        f" {launcher.start}: start it by that; {alone}",
    )
    index = environment[launcher.index]
    _require(
        index.isdigit() and int(index) < count,
        f"{said}, and {launcher.index} must be 0 to {count - 1}, got {index!r}",
    )
    return Processes(None, count, int(index))


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    _require(
        bool(host and colon) and port.isdigit() and 0 < int(port) < 2**16,
        f"--coordinator must be HOST:PORT, the same for all processes, or auto; got {text!r}",
    )
    return text


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise NotConnected(message)
