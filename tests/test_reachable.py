"""What dgm_jax defines, something besides the tests reaches.

A definition that only tests can reach is of no use to a user: it becomes an argument of a recipe or
an experiment, is shown in a document whose blocks are run, or goes.
"""

import functools
import pathlib
import re

from reach import Package, scope_of

ROOT = pathlib.Path(__file__).parents[1]
USERS = ("experiments", "benchmarks", "tools")
PAGES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/concepts.md")
COMMANDS = (("dgm_jax.cli", "main"),)


def sources():
    """(dotted name, source, whether it is a package) of the package and of all that uses it."""
    for top in ("dgm_jax", *USERS):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = list(file.relative_to(ROOT).with_suffix("").parts)
            if parts == ["experiments", "__init__"]:
                continue
            if parts[0] == "experiments":  # as packaging maps the folder
                parts.insert(0, "dgm_jax")
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            yield name, file.read_text("utf-8"), is_package
    for page in PAGES:
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
        for index, block in enumerate(blocks):
            yield f"{page} {index}", block, False


def is_user(module):
    return not module.startswith("dgm_jax") or module.startswith("dgm_jax.experiments.")


def unreached(package, roots):
    """Public names of the package's own modules that the roots do not lead to."""
    reached = package.reached(roots)
    return sorted(
        f"{module}.{name}".removeprefix("dgm_jax.")
        for module, scope in package.scopes.items()
        if not is_user(module)
        for name in scope.own
        if not name.startswith("_") and (module, name) not in reached
    )


@functools.cache
def the_package():
    package = Package({name: scope_of(text, name, is_pack) for name, text, is_pack in sources()})
    users = [(m, name) for m, scope in package.scopes.items() if is_user(m) for name in scope.own]
    return package, [*users, *COMMANDS]


def test_nothing_is_reached_by_tests_only():
    lonely = unreached(*the_package())
    assert not lonely, "\n".join(lonely)


def test_users_are_seen():
    """Experiments, benchmarks and blocks of pages are among the roots."""
    package, roots = the_package()
    modules = {module for module, _ in roots}
    assert {"dgm_jax.experiments.gan_images.task", "benchmarks.measuring"} <= modules
    assert "docs/concepts.md 0" in package.scopes


MATHS = """
from dgm_jax.base import helper
HALF = 0.5
UNUSED = 1
def used(x):
    return helper(x) * HALF
def lonely(x):
    return only_by_lonely(x)
def only_by_lonely(x):
    return x
def shadowed(x):
    return x
TABLE = {"member": lambda x: member(x)}
def member(x):
    return x
"""
USER = """
from dgm_jax import maths
import dgm_jax.maths as other
from dgm_jax.room import passed_on
def study(shadowed, values):
    lonely = [shadowed for shadowed in values]  # names of its own, whatever the module has
    return maths.used(lonely), other.TABLE["member"], passed_on.attribute
"""


def test_the_search_follows_imports_attributes_and_rooms():
    """On a package of four modules, by hand."""
    modules = {
        "dgm_jax": ("", True),
        "dgm_jax.base": ("def helper(x): return x\ndef spare(x): return x\n", False),
        "dgm_jax.maths": (MATHS, False),
        "dgm_jax.room": ("from dgm_jax.room.passed_on import passed_on\n", True),
        "dgm_jax.room.passed_on": ("class passed_on: pass\nclass hidden: pass\n", False),
        "dgm_jax.experiments.study": (USER, False),
    }
    package = Package({name: scope_of(text, name, pack) for name, (text, pack) in modules.items()})
    assert unreached(package, [("dgm_jax.experiments.study", "study")]) == [
        "base.spare",
        "maths.UNUSED",
        "maths.lonely",
        "maths.only_by_lonely",
        "maths.shadowed",
        "room.passed_on.hidden",
    ]


def test_what_runs_at_import_is_reached():
    """A statement that defines nothing, and a relative import in a package."""
    modules = {
        "dgm_jax": ("", True),
        "dgm_jax.room": ("from .inner import register\nregister(1)\n", True),
        "dgm_jax.room.inner": ("def register(x): return x\n", False),
    }
    package = Package({name: scope_of(text, name, pack) for name, (text, pack) in modules.items()})
    assert unreached(package, []) == []
