"""Settings without effect: refused before anything is made, or said."""

import pytest
from tiny_game import EXPERIMENT, rows_of, run, tiny

from dgm_jax.core import ConfigError
from dgm_jax.run import check
from dgm_jax.run.cells import arms
from dgm_jax.run.unread import unread

HALF_ONLY = tiny(read_where={"poison": {"kind": ("ha*",)}})


def sentences(grid=None, experiment=HALF_ONLY, **settings):
    config = experiment.config(**settings)
    cells = arms(experiment, config, grid or {})
    return [(found.everywhere, found.sentence) for found in unread(experiment, config, grid, cells)]


def test_a_setting_that_no_arm_reads_is_named_with_what_would_read_it():
    assert sentences({}, poison=3.0) == [
        (
            True,
            "poison=3.0 has no effect: it is read where kind is ha*, and here kind is plain; leave"
            " it out",
        )
    ]


@pytest.mark.parametrize(
    ("settings", "grid"),
    [
        ({"poison": 1e9}, {}),  # its default, though given
        ({"poison": 3.0, "kind": ("half",)}, {}),
        ({"poison": 3.0, "kind": ("plain", "half")}, {}),  # one of the arms reads it
        ({"kind": ("half",)}, {"poison": (1.0, 2.0)}),
        ({}, {"kind": ("half",), "poison": (1.0, 2.0)}),
        ({"rate": 0.5}, {}),  # nothing is said about it: all arms read it
    ],
)
def test_settings_that_are_read(settings, grid):
    assert sentences(grid, **settings) == []


@pytest.mark.parametrize("values", [(1.0, 2.0), (1e9,)])
def test_what_is_swept_is_given_whatever_its_values(values):
    ((everywhere, sentence),) = sentences({"poison": values})
    assert everywhere and sentence.startswith(f"poison={','.join(map(str, values))} has no effect:")


def test_cells_that_will_be_equal_are_said():
    ((everywhere, sentence),) = sentences({"poison": (1.0, 2.0)}, kind=("plain", "half"))
    assert not everywhere and "no effect on some cells" in sentence and "kind is plain" in sentence


def test_a_run_is_refused_before_its_folder_is_made(tmp_path, capsys):
    assert run(tmp_path / "run", "--poison", "5", experiment=HALF_ONLY) == 2
    assert capsys.readouterr().err.startswith("error: poison=5.0 has no effect: it is read where")
    assert not (tmp_path / "run").exists()


def test_a_run_says_what_some_cells_do_not_read(tmp_path, capsys):
    grid = {"poison": (1e7, 1e8)}
    flags = "--kind", "plain", "half", "--progress", "lines", "--num_steps", "10"
    assert run(tmp_path, *flags, experiment=HALF_ONLY, grid=grid) == 0
    assert "poison=10000000.0,100000000.0 has no effect on some cells" in capsys.readouterr().err


def test_a_run_of_before_goes_on(tmp_path, capsys):
    """Its experiment did not say then what reads the setting."""
    assert run(tmp_path, "--poison", "1e8", "--num_steps", "10") == 0
    (tmp_path / "summary.json").unlink()
    flags = "--poison", "1e8", "--num_steps", "10", "--resume", "--progress", "lines"
    assert run(tmp_path, *flags, experiment=HALF_ONLY) == 0
    assert "poison=100000000.0 has no effect" in capsys.readouterr().err
    assert [row["step"] for row in rows_of(tmp_path)] == [10]


def test_a_check_refuses_it_too(capsys):
    assert check(HALF_ONLY, ["--num_seeds", "2", "--grid", "poison=1,2"]) == 2
    assert "poison=1.0,2.0 has no effect" in capsys.readouterr().err


@pytest.mark.parametrize(
    "where", [{"posion": {"kind": ("half",)}}, {"poison": {"knid": ("half",)}}]
)
def test_only_settings_can_be_declared(where):
    with pytest.raises(
        ConfigError, match=r"read_where of tiny: Tiny has no setting '(posion|knid)'"
    ):
        tiny(read_where=where)


def test_without_a_declaration_everything_is_read():
    assert sentences({"poison": (1.0, 2.0)}, experiment=EXPERIMENT, rate=0.7) == []


def test_convolutions_of_networks_without_any_are_said(tmp_path, capsys):
    flags = "--convolutions", "lax", "--num_steps", "10", "--progress", "lines"
    assert run(tmp_path, *flags) == 0
    assert "convolutions=lax has no effect: plain has no convolutions" in capsys.readouterr().err
