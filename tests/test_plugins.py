"""Experiments of other packages, found by their entry points: whole and broken ones."""

import ast
import importlib.machinery
import pathlib
import subprocess
import sys

import pytest

from dgm_jax import cli, run
from dgm_jax.run import catalogue, listing

ROOT = pathlib.Path(__file__).parents[1]

WHOLE = '''"""A whole experiment
in two lines.

    python -m plugin_whole
"""

import dataclasses

from dgm_jax.run import Experiment, StudyConfig

EXPERIMENT = Experiment(name="whole", config=StudyConfig)
'''
# An error that is no Exception and has no text.
OWN_ERROR = """
class Unheard(BaseException):
    def __str__(self):
        raise RuntimeError

raise Unheard
"""
# Types that are not there; settings that are no dataclass; a task that fails.
SETTINGS = (
    WHOLE.replace(
        "EXPERIMENT =",
        """@dataclasses.dataclass(frozen=True)
class Config(StudyConfig):
    size: "Nothing" = 1

EXPERIMENT =""",
    )
    .replace("config=StudyConfig", "config=Config")
    .replace('"whole"', '"types"')
)
NO_SETTINGS = WHOLE.replace("config=StudyConfig", "config=dict")
TASK = WHOLE.replace("config=StudyConfig", 'config=StudyConfig, task="plugin_raises"')
# What plugins were written against before.
FORMER = '''"""An experiment of before."""

from dgm_jax.run import Data, Experiment, RunConfig, main
'''

# name: (entry point, what `list` says, what `run` says)
BROKEN = {
    "no_module": ("plugin_package.absent:E", "there is no module plugin_package.absent", "absent"),
    "no_package": ("plugin_nowhere.m:E", "No module named 'plugin_nowhere'", "plugin_nowhere"),
    "no_syntax": ("plugin_syntax:E", "SyntaxError: ", "SyntaxError: "),
    "no_file": ("plugin_folder:E", "plugin_folder is a folder without __init__.py", "no attribute"),
    "library": ("plugin_library:E", "plugin_library has no Python source", "plugin_library"),
    "bytes": ("plugin_bytes:E", "cannot be read: ", "cannot be loaded"),
    "raises": ("plugin_raises.m:E", "RuntimeError: first second", "RuntimeError: first second"),
    "leaves": ("plugin_leaves.m:E", "SystemExit: 3", "SystemExit: 3"),
    "no_entry": ("?", "cannot be read: ", "cannot be loaded"),
    "own_error": ("plugin_own_error.m:E", "Unheard", "E: Unheard"),
    "\x1b[2Jescape": ("plugin_nowhere.m:E", "No module named 'plugin_nowhere'", "plugin_nowhere"),
}
UNFIT = {
    "former": ("plugin_former:E", "dgm_jax.run has no Data: it is Inputs now"),
    "former_settings": (
        "plugin_former_settings:E",
        "no RunConfig: settings derive from StudyConfig",
    ),
    "no_such_name": ("plugin_whole:OTHER", "AttributeError: "),
    "no_experiment": ("plugin_whole:dataclasses", "must be a dgm_jax.run.Experiment"),
    "no_settings": ("plugin_no_settings:EXPERIMENT", "cannot be loaded"),
}


# Records of packages that cannot be read.
DAMAGED = (b"[dgm_jax.experiments]\nno equals sign\n", b"[dgm_jax.experiments]\n\xff\xfe = a:b\n")


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A folder on `sys.path` like site-packages, with the packages of the tables above."""
    (tmp_path / "plugin_whole.py").write_text(WHOLE)
    (tmp_path / "plugin_former.py").write_text(FORMER)
    (tmp_path / "plugin_former_settings.py").write_text(FORMER.replace("Data, ", ""))
    (tmp_path / "plugin_package").mkdir()
    (tmp_path / "plugin_package" / "__init__.py").write_text("")
    (tmp_path / "plugin_syntax.py").write_text('"""Starts well."""\ndef f(:\n')
    (tmp_path / "plugin_folder").mkdir()
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (tmp_path / f"plugin_library{suffix}").write_bytes(b"\x7fELF and no more")
    (tmp_path / "plugin_bytes.py").write_bytes(b"\x00\xff\xfe")
    (tmp_path / "plugin_types.py").write_text(SETTINGS)
    (tmp_path / "plugin_no_settings.py").write_text(NO_SETTINGS)
    (tmp_path / "plugin_task.py").write_text(TASK.replace('"whole"', '"task"'))
    (tmp_path / "plugin_shown.py").write_text('"""Shown \\x1b[2J\\x07 here."""')
    for name, code in (
        ("raises", "raise RuntimeError('first\\nsecond')"),
        ("leaves", "exit(3)"),
        ("own_error", OWN_ERROR),
    ):
        (tmp_path / f"plugin_{name}").mkdir()
        (tmp_path / f"plugin_{name}" / "__init__.py").write_text(code)
        (tmp_path / f"plugin_{name}" / "m.py").write_text("")
    info = tmp_path / "plugins-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugins\nVersion: 1\n")
    entries = {"whole": "plugin_whole:EXPERIMENT", "gan_ring": "plugin_whole:EXPERIMENT"}
    entries |= {"types": "plugin_types:EXPERIMENT", "task": "plugin_task:EXPERIMENT"}
    entries |= {"shown": "plugin_shown:E"}
    entries |= {name: row[0] for name, row in (BROKEN | UNFIT).items()}
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{catalogue.GROUP}]", *lines, ""]))
    for number, content in enumerate(DAMAGED):
        folder = tmp_path / f"damaged{number}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: damaged{number}\n")
        (folder / "entry_points.txt").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_broken_plugin_costs_its_own_line_only(plugins, capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr()
    lines = [line for line in shown.out.splitlines() if line.startswith("  ")]
    rows = dict(line.split(maxsplit=1) for line in lines)
    assert rows["whole"] == "A whole experiment in two lines."
    assert rows["shown"] == "Shown \\x1b[2J\\x07 here."
    assert all(c.isprintable() or c == "\n" for c in shown.out + shown.err)
    taken, *damaged = sorted(shown.err.splitlines(), key=lambda line: "damaged" in line)
    assert taken == (
        "plugin_whole:EXPERIMENT is not listed: dgm_jax.experiments.gan_ring:EXPERIMENT has the"
        " name 'gan_ring'"
    )
    assert [line.split(": ")[1] for line in damaged] == ["its entry points cannot be read"] * 2
    for name, (_, reason, _) in BROKEN.items():
        name = name.replace("\x1b", "\\x1b")
        assert rows[name].startswith("cannot be read: ") and reason in rows[name], rows[name]
    for path in (ROOT / "experiments").glob("[!_]*/__init__.py"):
        told = ast.get_docstring(ast.parse(path.read_text("utf-8"))).split("\n\n")[0]
        assert rows[path.parent.name] == told.replace("\n", " ")


def test_the_list_has_the_chapters_of_the_lecture_in_their_order(plugins, capsys):
    """Each experiment stands below its chapter; what names none is below the last heading."""
    heading = ""
    assert cli.main(["list"]) == 0
    found = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("  "):
            found[heading].append(line.split()[0])
        else:
            heading, found[line] = line, []
    assert list(found) == [*listing.CHAPTERS, listing.OTHERS]
    for name, entry in catalogue.experiments().items():
        if entry.value.startswith("dgm_jax."):
            assert name in found[entry.load().chapter]
    assert "whole" in found[listing.OTHERS]


@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("name", [*BROKEN, *UNFIT])
def test_to_start_a_broken_plugin_gives_one_sentence(plugins, name, command, capsys):
    reason = (BROKEN | UNFIT)[name][-1]
    assert cli.main([command, name]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith(f"error: experiment {name!r} ") and reason in line


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("types", "settings of experiment types cannot be read: NameError: name 'Nothing' is not"),
        ("task", "plugin_raises cannot be imported: RuntimeError: first second (/"),
    ],
)
@pytest.mark.parametrize("command", ["run", "check"])
def test_what_a_plugin_brings_with_it_is_broken(plugins, name, command, reason, tmp_path, capsys):
    try:
        code = cli.main([command, name])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    shown = capsys.readouterr()
    assert shown.out == "" and reason in shown.err and len(shown.err.splitlines()) == 1


def test_a_name_of_ours_stays_ours(plugins):
    assert catalogue.load_experiment("gan_ring").name == "gan_ring"


def test_a_whole_plugin_is_loaded(plugins):
    assert catalogue.load_experiment("whole").name == "whole"


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_plugin_without_functions_says_which_are_missing(plugins, command, capsys):
    assert cli.main([command, "whole"]) == 2
    assert capsys.readouterr().err == (
        "error: experiment whole has no function load in its fields, and no task is named\n"
    )


def test_names_that_are_gone_are_explained():
    for name, now in (("RunConfig", "StudyConfig"), ("Data", "Inputs"), ("is_check", "needs")):
        with pytest.raises(ImportError, match=rf"dgm_jax.run has no {name}: .*{now}.*CHANGELOG"):
            getattr(run, name)
    with pytest.raises(AttributeError, match="no attribute 'RunCfg'"):
        run.RunCfg  # noqa: B018


WITHOUT_JAX = """
import sys
from dgm_jax import cli, run
try:
    code = cli.main({words})
except SystemExit as stop:
    code = stop.code or 0
print([code, [name for name in ("jax", "flax", "matplotlib", "optax") if name in sys.modules]])
"""


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (["list"], 0, "gan_ring"),
        (["--version"], 0, "dgm-jax 0."),
        (["--tyro-print-completion", "bash"], 0, "'subcommands': {'ablate'"),
        (["run", "gan_ring", "--help"], 0, "--learning-rate"),
        (["ablate", "gan_images", "--help"], 0, "--average-decay"),
        (["run", "gan_ring", "--mehtod", "vanilla"], 2, "--method"),
        (["check", "avb_posteriors", "--arm", "torus/avp"], 2, "torus/avb"),
    ],
)
def test_help_and_wrong_flags_need_no_jax(words, code, shown):
    command = [sys.executable, "-c", WITHOUT_JAX.format(words=words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"[{code}, []]"
    assert shown in (done.stdout if code == 0 else done.stderr)
