"""Experiments of a user's own, given by path and by module: run, ablated, and what is wrong with
them told in a sentence."""

import json
import sys

import pytest

from dgm_jax import cli
from dgm_jax.run import catalogue, resuming
from dgm_jax.terminal.console import Command

SMALL = "--num_seeds 2 --num_steps 20 --log_every 10 --num_devices 1 --progress quiet".split()
MINE = '''"""Mine."""
import beside
EXPERIMENT = beside.tiny(name="mine")
OTHER = beside.tiny(name="other")
NONE = 3
'''
BESIDE = "from tiny_game import tiny\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a file, a package and a module, and nothing of them left in this process."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "beside.py").write_text(BESIDE)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("from package.inner import EXPERIMENT\n")
    (tmp_path / "package" / "inner.py").write_text(MINE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    places = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    for name, place in places.items():
        if str(place).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("./mine.py", "mine"),
        ("mine.py", "mine"),
        ("./mine.py:OTHER", "other"),
        ("./package", "mine"),
        ("package.inner", "mine"),
        ("package.inner:OTHER", "other"),
    ],
)
def test_all_ways_to_name_one(folder, place, name, capsys):
    assert cli.main(["check", place, *SMALL]) == 0
    assert capsys.readouterr().out.endswith("ok\n")
    assert catalogue.load_own(place).name == name


def test_a_file_is_run_and_ablated(folder):
    assert cli.main(["run", "./mine.py", *SMALL, "--out", "r"]) == 0
    assert json.loads((folder / "r" / "summary.json").read_text())["experiment"] == "mine"
    grid = ["--grid", "rate=log:0.01..1:3"]
    assert cli.main(["ablate", "./mine.py", *SMALL, "--out", "a", *grid]) == 0
    summary = json.loads((folder / "a" / "summary.json").read_text())
    assert summary["arms"] == ["plain, rate=0.01", "plain, rate=0.1", "plain, rate=1.0"]


def test_what_stopped_goes_on_by_the_same_words(folder, capsys):
    """`dgm-jax resume` knows installed experiments only, so the command that is printed is the one
    that was typed."""
    mine = catalogue.load_own("./mine.py")
    command = Command(("dgm-jax", "run", "./mine.py"), ("--num_seeds", "2"))
    told = resuming.how(mine, folder / "r", command)
    assert (
        told.split()[1:] == f"dgm-jax run ./mine.py --num_seeds 2 --out {folder}/r --resume".split()
    )


def test_a_run_goes_on_and_is_sampled_with_its_file(folder, capsys):
    assert cli.main(["run", "./mine.py", *SMALL, "--out", "r"]) == 0
    own = ["--experiment", "./mine.py"]
    assert cli.main(["resume", "r", *own, "--num_steps", "30", "--out", "longer"]) == 0
    assert json.loads((folder / "longer" / "summary.json").read_text())["num_steps"] == 30
    assert cli.main(["sample", "r", *own, "--num", "5", "--out", "x.npz"]) == 0
    for command in (["resume", "r"], ["sample", "r", "--out", "x.npz"]):
        capsys.readouterr()
        assert cli.main(command) == 2 and "'mine'" in capsys.readouterr().err
        assert cli.main([*command, "--experiment", "./none.py"]) == 2
        assert "there is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "place", "words"),
    [
        ("", "./bad.py", "./bad.py has no EXPERIMENT: an experiment's module ends with"),
        ("EXPERIMENT = 3", "./bad.py", "EXPERIMENT must be a dgm_jax.run.Experiment"),
        (
            "import no_such_module",
            "./bad.py",
            "bad.py cannot be imported: No module named",
        ),
        ("def f(:", "./bad.py", "bad.py cannot be imported: SyntaxError"),
        ("raise SystemExit(3)", "./bad.py", "bad.py cannot be imported: SystemExit: 3"),
        ("", "./none.py", "there is no file"),
        ("", "./bad.py:THIS", "./bad.py has no THIS"),
        ("", "bad.inner", "bad.inner cannot be imported: No module named"),
        ("", "no.module", "no.module cannot be imported: No module named 'no'"),
        ("", "./notes.txt", "notes.txt is no Python file"),
        ("", "gan_rnig", "did you mean 'gan_ring'?); known: "),
        ("", "gan_rnig", "./FILE.py or PACKAGE.MODULE"),
    ],
)
@pytest.mark.parametrize("command", ["run", "ablate", "check"])
def test_what_is_wrong_is_one_sentence(folder, capsys, content, place, words, command):
    (folder / "bad.py").write_text(content)
    (folder / "notes.txt").write_text("not Python")
    assert cli.main([command, place]) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("error: ") and words in line and shown.out == ""


def test_a_file_named_as_a_module_of_python(folder):
    """`json.py` is loaded from its path, and the library's json stays what it is."""
    (folder / "json.py").write_text(MINE)
    assert cli.main(["check", "./json.py", *SMALL]) == 0
    assert sys.modules["json"] is json
