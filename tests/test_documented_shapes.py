"""Shapes in docstrings against the shapes of calls: `x: [*B, D]` under Args, `[*B]` under Returns.

A name is one size throughout a docstring, `*B` are the same axes throughout, `...` are any axes.
"""

import importlib
import inspect
import re
import types

import jax
import jax.numpy as jnp
import public_functions as public
import pytest

ALL = public.CALLS | public.DRAWS
SHAPE = re.compile(r"(?:(?:float|int|uint|bool)\w*)?\[([^\[\]]*)\](?!,? or )")
NAME = re.compile(r"[A-Za-z_]\w*'?")


def documented(function):
    """{parameter: axes}, and the axes of the result or None; where "or" follows, there is more."""
    lines = (inspect.getdoc(function) or "").splitlines()
    section = ""
    arguments = {}
    result = None
    for line in lines:
        if line and not line.startswith(" "):
            section = line
        entry = re.fullmatch(r"    (\w+): (.*)", line)
        if section == "Args:" and entry and (shape := SHAPE.match(entry[2])):
            arguments[entry[1]] = _axes(shape[1])
        if section == "Returns:" and result is None and line.strip() != section and line:
            shape = SHAPE.match(line.strip())
            result = _axes(shape[1]) if shape else ()
    return arguments, result


def _axes(text):
    return tuple(axis.strip() for axis in text.split(","))


def fits(axes, shape, sizes):
    """Yields the sizes of names under which the axes have this shape."""
    if not axes:
        if not shape:
            yield sizes
        return
    first, *rest = axes
    if first == "..." or first.startswith("*"):
        lengths = [shape[:i] for i in range(len(shape) + 1)]
        for some in [sizes[first]] if first in sizes else lengths:
            if shape[: len(some)] == some:
                known = sizes if first == "..." else {**sizes, first: some}
                yield from fits(rest, shape[len(some) :], known)
    elif shape:
        is_name = NAME.fullmatch(first)
        expected = int(first) if first.isdigit() else sizes.get(first, shape[0])
        if expected == shape[0]:
            known = {**sizes, first: shape[0]} if is_name else sizes
            yield from fits(rest, shape[1:], known)


def all_fit(pairs, sizes):
    """Whether one choice of sizes fits all pairs of axes and shape."""
    if not pairs:
        return True
    (axes, shape), *rest = pairs
    return any(all_fit(rest, known) for known in fits(axes, shape, sizes))


def _shape(value):
    """Of an array with axes; None for a number or a tree."""
    return tuple(value.shape) if getattr(value, "ndim", 0) else None


def checking(function, name, checked):
    """The function, which compares the shapes of each call with its docstring."""
    signature = inspect.signature(function)
    arguments, of_result = documented(function)

    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        sizes = {k: v for k, v in given.items() if type(v) is int}
        pairs = {k: (axes, _shape(given.get(k))) for k, axes in arguments.items()}
        if of_result:
            pairs["result"] = (of_result, _shape(result))
        pairs = {k: pair for k, pair in pairs.items() if pair[1] is not None}
        assert all_fit(list(pairs.values()), sizes), (name, pairs, sizes)
        if pairs:
            checked.add(name)
        return result

    return call


def test_calls_have_the_documented_shapes(monkeypatch):
    """Calls are traced, which takes shapes only."""
    checked = set()
    names = [name for name in ALL if "[" not in name]
    for name in names:
        room, *path, last = name.split(".")
        place = importlib.import_module(f"dgm_jax.{room}")
        for part in path:
            place = getattr(place, part)
        function = getattr(place, last, None)
        if inspect.isfunction(function):
            monkeypatch.setattr(place, last, checking(function, name, checked))
    arrays = {name: jnp.asarray(x, jnp.float32) for name, x in public.inputs().items()}
    call = lambda arrays: [ALL[name](types.SimpleNamespace(**arrays)) for name in names]
    jax.eval_shape(call, arrays)
    assert len(checked) >= 90, sorted(checked)


def test_a_wrong_shape_is_seen():
    def function(x, y, num):
        """Do.

        Args:
            x: [*B, D].
            y: float32[N, D], such as a codebook.
            num: a number.

        Returns:
            [num, *B].
        """
        return jnp.zeros((num, *x.shape[:-1], *jnp.shape(y)[2:]))

    call = checking(function, "function", set())
    x, y = jnp.ones((2, 3, 4)), jnp.ones((5, 4))
    call(x, y, 7)
    call(x, 1.0, 7)
    for wrong in ((x, jnp.ones((5, 3))), (x, jnp.ones(4)), (x, jnp.ones((5, 4, 2)))):
        with pytest.raises(AssertionError, match="function"):
            call(*wrong, 7)
    assert all_fit([(("*S", "B", "*E"), (2, 3, 4)), (("*E",), (4,)), (("B",), (3,))], {})
    assert not all_fit([(("*S", "B", "*E"), (2, 3, 4)), (("*E",), (4,)), (("B",), (2,))], {})
