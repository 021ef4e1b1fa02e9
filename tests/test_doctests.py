"""Every exported function of the mathematical rooms has an example in its docstring, and it runs.

An example sees the names of its module, those that its room exports, and `jax`, `jnp` and `np`, as
after `from dgm_jax.densities import *`.
"""

import doctest
import importlib
import inspect
import pkgutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOMS = (
    "core",
    "densities",
    "flows",
    "likelihood",
    "objectives",
    "priors",
    "quantization",
    "sampling",
)
# Rooms of which every exported function must have an example.
COMPLETE = ("core", "densities", "likelihood", "objectives", "quantization", "sampling")
# Exported functions without one: name -> reason.
EXCEPTIONS: dict[str, str] = {}
FINDER = doctest.DocTestFinder(exclude_empty=True)


def modules_of(room):
    """The room and its modules, subpackages included."""
    package = importlib.import_module(f"dgm_jax.{room}")
    names = [module.name for module in pkgutil.walk_packages(package.__path__, f"dgm_jax.{room}.")]
    return [package, *map(importlib.import_module, names)]


MODULES = {module.__name__: room for room in ROOMS for module in modules_of(room)}


def examples_of(name):
    """The doctests of a module, by object."""
    module = importlib.import_module(name)
    room = importlib.import_module(f"dgm_jax.{MODULES[name]}")
    exported = {key: getattr(room, key) for key in room.__all__}
    short = {"core": importlib.import_module("dgm_jax.core"), "jax": jax, "jnp": jnp, "np": np}
    names = vars(module) | exported | short
    return [test for test in FINDER.find(module, name, globs=names) if test.examples]


def failures_of(tests):
    """What a run of doctests reports, empty if all pass."""
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL, verbose=False)
    for test in tests:
        runner.run(test, out=report.append)
    return "".join(report)


def public_functions(room):
    """{name: function} of what a room exports: functions, and those of exported modules."""
    package = importlib.import_module(f"dgm_jax.{room}")
    functions = {}
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, types.ModuleType):
            listed = getattr(value, "__all__", None)
            functions |= {
                f"{room}.{name}.{key}": f
                for key, f in vars(value).items()
                if is_function(f) and not key.startswith("_")
                if (f.__module__ == value.__name__ if listed is None else key in listed)
            }
        elif is_function(value):
            functions[f"{room}.{name}"] = value
    return functions


def is_function(value):
    return inspect.isfunction(inspect.unwrap(value)) if callable(value) else False


@pytest.mark.parametrize("name", [name for name in MODULES if examples_of(name)])
def test_examples_print_what_they_say(name):
    assert not failures_of(examples_of(name))


@pytest.mark.parametrize("room", COMPLETE)
def test_every_exported_function_has_an_example(room):
    functions = public_functions(room)
    without = {
        name for name, function in functions.items() if ">>> " not in (function.__doc__ or "")
    }
    assert without == {name for name in EXCEPTIONS if name.split(".")[0] == room}
    assert len(functions) > 3


def test_a_wrong_value_is_noticed():
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> print(1 + 1)\n3\n", {}, "wrong", None, 0)
    assert "Expected:\n    3\nGot:\n    2" in failures_of([wrong])
