"""The processes of a run, by flags and by a launcher's variables; what is half set is refused."""

import pytest
from tiny_game import run

from dgm_jax.run.launchers import LAUNCHERS, NotConnected, Processes, asked
from dgm_jax.run.settings import LaunchConfig

SLURM = {  # task 2 of `srun --ntasks 4`
    "SLURM_JOB_ID": "7123",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "node[001-004]",
}
OPEN_MPI = {  # `mpirun -n 2`
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
}
POD = {"TPU_WORKER_HOSTNAMES": "t0,t1,t2", "TPU_WORKER_ID": "0"}


def flags(coordinator="", num_processes=0, process_id=-1):
    return LaunchConfig(coordinator=coordinator, num_processes=num_processes, process_id=process_id)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        (SLURM, Processes(None, 4, 2)),
        (SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
        (OPEN_MPI, Processes(None, 2, 1)),
        (POD, Processes(None, 3, 0)),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"}, None),
    ],
)
def test_launcher(variables, expected):
    assert asked(LaunchConfig(), variables) == expected


def test_every_variable_of_a_launcher_is_named_where_it_is_missing():
    for launcher, variables in zip(LAUNCHERS, (SLURM, OPEN_MPI, POD), strict=True):
        for name in (launcher.index, *launcher.needed):
            rest = {other: value for other, value in variables.items() if other != name}
            with pytest.raises(NotConnected, match=name):
                asked(LaunchConfig(), rest)
            assert asked(flags(num_processes=1), rest) is None  # which is what the message says


def test_flags():
    assert asked(flags("h:1234", 3, 2), {}) == Processes("h:1234", 3, 2)
    assert asked(flags("h:1234", 3, 2), SLURM) == Processes("h:1234", 3, 2)
    assert asked(flags("h:1234"), OPEN_MPI) == Processes("h:1234", 2, 1)
    assert asked(flags("auto"), {}) == Processes(None, None, None)
    assert asked(flags(num_processes=1), SLURM) is None


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("h:1234",), "--num_processes N and --process_id I"),
        (("h:1234", 2), "--process_id I"),
        (("h:1234", 0, 1), "--num_processes N"),
        (("", 2, 1), "--coordinator HOST:PORT"),
        (("", 0, 0), "--coordinator HOST:PORT and --num_processes N"),
        (("h", 2, 1), "'h'"),
        (("h:99999", 2, 1), "h:99999"),
        ((":80", 2, 1), "':80'"),
        (("h:1234", 2, 2), "0 to 1 .* got 2"),
        (("h:1234", -2, 0), "positive, got -2"),
        (("auto", 2), "auto"),
    ],
)
def test_half_set_flags(given, named):
    with pytest.raises(NotConnected, match=named):
        asked(flags(*given), {})


def test_contradicting_variables():
    with pytest.raises(NotConnected, match="SLURM_PROCID must be 0 to 3, got '4'"):
        asked(LaunchConfig(), SLURM | {"SLURM_PROCID": "4"})
    with pytest.raises(NotConnected, match="SLURM_NTASKS must be a number, got 'many'"):
        asked(LaunchConfig(), SLURM | {"SLURM_NTASKS": "many"})


def test_a_command_that_is_half_set_ends_with_2(tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    assert run(out, "--coordinator", "here:1234", "--num_processes", "2") == 2
    assert "several processes need --process_id I as well" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert run(out) == 2
    assert "SLURM_PROCID" in capsys.readouterr().err
    assert not out.exists()
