"""What is packaged and under which names: the wheel, the editable install, the plain checkout.

Everything is built from a copy of the checkout, since setuptools leaves its notes beside what it
packs.
"""

import configparser
import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKED = (
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "pyproject.toml",
    "setup.py",
    "dgm_jax",
    "experiments",
)
NAMES = {path.parent.name for path in (ROOT / "experiments").glob("[!_]*/__main__.py")}

# A stand-in for an experiment, which needs no JAX: it says under which names things are known.
ONE = """
import json
import sys

from . import two as relative
import dgm_jax.experiments.two as absolute
import experiments.two as short
import dgm_jax.experiments.long.part as long_part
import experiments.long.part as short_part
from experiments import two as listed

assert relative is absolute is short is listed
assert long_part is short_part
EXPERIMENT = {
    "package": __package__,
    "keys": sorted(key for key in sys.modules if "experiments." in key),
    "names": sorted({m.__name__ for key, m in sys.modules.items() if "experiments" in key}),
}
print(json.dumps(EXPERIMENT))
"""

LONG_MAIN = """
import json
import sys

import dgm_jax.experiments.long as absolute
import experiments.long as short

assert absolute is short
print(json.dumps([__package__, sorted(key for key in sys.modules if key.endswith(".long"))]))
"""


def copy_of_the_checkout(folder):
    folder.mkdir()
    for name in PACKED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def python(*arguments, folder, path=()):
    """Output of a Python process on one device, with `path` first on its `sys.path`."""
    drop = ("XLA_FLAGS", "NPROC", "PYTHONPATH", "PYTHONSAFEPATH")
    env = {name: value for name, value in os.environ.items() if name not in drop}
    if path:
        env["PYTHONPATH"] = os.pathsep.join(map(str, path))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind, source, out):
    """The archive that setuptools makes of a source tree, by the hook that pip calls."""
    out.mkdir()
    python(
        "-c", f"from setuptools import build_meta as b; b.build_{kind}({str(out)!r})", folder=source
    )
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel as it is published: by way of the source archive."""
    folder = tmp_path_factory.mktemp("wheel")
    archive = build("sdist", copy_of_the_checkout(folder / "checkout"), folder / "source")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return build("wheel", unpacked, folder / "published")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    offline = ("--no-deps", "--no-index", "--disable-pip-version-check")
    python("-m", "pip", "install", "-q", *offline, "--target", folder, wheel, folder=folder)
    return folder


@pytest.fixture
def users_folder(tmp_path):
    """An empty folder but for a package `experiments` of the user's own."""
    own = tmp_path / "user" / "experiments"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("raise RuntimeError('not asked for')")
    return own.parent


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with experiments more, one of which imports the others; one is a folder."""
    folder = copy_of_the_checkout(tmp_path_factory.mktemp("plain") / "checkout")
    (folder / "experiments" / "one.py").write_text(ONE)
    (folder / "experiments" / "two.py").write_text('"""Twice\nas long."""\n')
    (folder / "experiments" / "long").mkdir()
    (folder / "experiments" / "long" / "__init__.py").write_text("from . import part\n")
    (folder / "experiments" / "long" / "part.py").write_text("")
    (folder / "experiments" / "long" / "__main__.py").write_text(LONG_MAIN)
    return folder


@pytest.fixture(scope="module")
def editable(checkout, tmp_path_factory):
    """The folder of site-packages that makes `checkout` an editable install."""
    folder = tmp_path_factory.mktemp("editable")
    archive = build("editable", checkout, folder / "built")
    shutil.unpack_archive(archive, folder / "site", format="zip")
    return folder / "site"


def test_the_wheel_owns_one_name_and_has_all_its_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        info = next(name.split("/")[0] for name in inside if ".dist-info/" in name)
        assert {name.split("/")[0] for name in inside} == {"dgm_jax", info}
        assert archive.read(f"{info}/top_level.txt").split() == [b"dgm_jax"]
        text = archive.read(f"{info}/licenses/LICENSE").decode()
        for name in inside:
            if name.startswith("dgm_jax/experiments/"):
                assert archive.read(name) == (ROOT / name.partition("/")[2]).read_bytes(), name
    assert text == (ROOT / "LICENSE").read_text("utf-8")
    own = {path.relative_to(ROOT) for path in (ROOT / "dgm_jax").rglob("*") if path.is_file()}
    own = {path.as_posix() for path in own if "__pycache__" not in path.parts}
    own |= {f"dgm_jax/{path.relative_to(ROOT)}" for path in (ROOT / "experiments").rglob("*.py")}
    assert {"dgm_jax/py.typed", "dgm_jax/report/page.html.jinja", "dgm_jax/native/onednn.cc"} < own
    assert {name for name in inside if name.startswith("dgm_jax/")} == own


def test_the_source_tree_gives_the_same_wheel(wheel, tmp_path):
    direct = build("wheel", copy_of_the_checkout(tmp_path / "checkout"), tmp_path / "built")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(direct) as other:
        sizes = [
            {entry.filename: entry.CRC for entry in archive.infolist()} for archive in (one, other)
        ]
    assert sizes[0] == sizes[1]


def test_every_experiment_has_an_entry_point_inside_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (listing,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        parser = configparser.ConfigParser()
        parser.read_string(archive.read(listing).decode())
        inside = archive.namelist()
    entries = dict(parser["dgm_jax.experiments"])
    assert set(entries) == NAMES
    for name, value in entries.items():
        module, _, attribute = value.partition(":")
        assert (module, attribute) == (f"dgm_jax.experiments.{name}", "EXPERIMENT")
        assert module.replace(".", "/") + "/__init__.py" in inside
        assert module.replace(".", "/") + "/__main__.py" in inside


def test_list_beside_a_package_of_the_users_own(installed, users_folder):
    script = installed / "bin" / "dgm-jax"
    shown = python(script, "list", folder=users_folder, path=(users_folder, installed))
    rows = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert NAMES <= set(rows)
    for name in NAMES:
        assert rows[name].endswith((".", "?")), f"no whole sentence: {rows[name]}"


def test_a_run_beside_a_package_of_the_users_own(installed, users_folder):
    small = "--num_seeds 1 --num_steps 2 --log_every 1 --num_eval 50 --batch_size 8".split()
    start = ("-m", "dgm_jax.cli", "run", "gan_ring", "--method", "vanilla", *small, "--out", "run")
    python(*start, folder=users_folder, path=(installed,))
    summary = json.loads((users_folder / "run" / "summary.json").read_text())
    assert (summary["experiment"], summary["num_steps"]) == ("gan_ring", 2)
    environment = json.loads((users_folder / "run" / "environment.json").read_text())
    assert " -m dgm_jax.cli run gan_ring --method vanilla " in environment["command"]
    assert (users_folder / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    "start",
    [
        ("-m", "experiments.one"),
        ("-m", "dgm_jax.experiments.one"),
        ("-c", "import experiments.one"),
        ("-c", "import dgm_jax.experiments.one"),
        ("-c", "from dgm_jax.run import catalogue; catalogue.experiments()['one'].load()"),
    ],
    ids=" ".join,
)
def test_a_process_knows_an_experiment_by_one_name(checkout, start):
    found = json.loads(python(*start, folder=checkout))
    assert found["package"] == "dgm_jax.experiments"
    names = {f"dgm_jax.experiments{rest}" for rest in ("", ".two", ".long", ".long.part")}
    if start[0] == "-c":
        names |= {"dgm_jax.experiments.one"}
    assert set(found["names"]) == names
    assert set(found["keys"]) == names - {"dgm_jax.experiments"} | {"experiments.long"}


@pytest.mark.parametrize("package", ["experiments", "dgm_jax.experiments"])
def test_a_folder_runs_as_a_module(checkout, package):
    found = json.loads(python("-m", f"{package}.long", folder=checkout))
    assert found == ["dgm_jax.experiments.long", ["dgm_jax.experiments.long", "experiments.long"]]


def test_a_module_that_is_not_there_is_missed_by_the_name_it_was_asked_by(checkout):
    code = "import experiments.three"
    with pytest.raises(AssertionError, match="No module named 'experiments.three'"):
        python("-c", code, folder=checkout)


def test_a_checkout_that_is_not_installed_lists_its_own(checkout):
    shown = python("-m", "dgm_jax.cli", "list", folder=checkout).splitlines()
    rows = {name: " ".join(rest) for name, *rest in map(str.split, shown)}  # with chapters
    assert set(rows) >= NAMES | {"two"}  # `long` has no docstring
    assert rows["two"] == "Twice as long."


# The tests' environment may hold this package in the same way: its finder gives way, since both
# have one name.
WHERE = """
import importlib.util
import site
import sys

sys.meta_path = [f for f in sys.meta_path if not f.__module__.startswith("__editable__")]
for name in [name for name in sys.modules if name.startswith("__editable__")]:
    del sys.modules[name]
sys.path.insert(0, {site!r})
site.addsitedir({site!r})
import dgm_jax

print(dgm_jax.__file__)
print(importlib.util.find_spec("dgm_jax.experiments.gan_ring").origin)
"""


def test_an_editable_install_finds_the_experiments_of_its_checkout(
    editable, checkout, users_folder
):
    (users_folder / "experiments" / "__init__.py").write_text("OWN = True\n")
    code = WHERE.format(site=str(editable)) + "from experiments import OWN\n"
    if not any(editable.glob("*finder*.py")):
        pytest.fail(f"no finder of an editable install in {os.listdir(editable)}")
    package, module = python("-c", code, folder=users_folder).splitlines()
    assert pathlib.Path(package) == checkout / "dgm_jax" / "__init__.py"
    assert pathlib.Path(module) == checkout / "experiments" / "gan_ring" / "__init__.py"


def test_a_checkout_that_comes_first_brings_its_own_experiments(editable, tmp_path):
    clone = copy_of_the_checkout(tmp_path / "clone")
    package, module = python("-c", WHERE.format(site=str(editable)), folder=clone).splitlines()
    assert pathlib.Path(package) == clone / "dgm_jax" / "__init__.py"
    assert pathlib.Path(module) == clone / "experiments" / "gan_ring" / "__init__.py"
