"""The equations of a traced program as one list: calls inlined, without what no result needs."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

# Primitives that combine elements of an operand; their jaxprs say how two are combined.
REDUCES = frozenset(
    "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor argmax argmin"
    " reduce_precision cumsum cumlogsumexp cummax cummin cumprod scatter-add scatter scatter_add"
    " reduce reduce_window reduce_window_sum reduce_window_max select_and_scatter_add"
    " dgm_jax_total dgm_jax_row_total".split()
)


class Node(NamedTuple):
    """An equation of a jaxpr after calls were inlined.

    Attributes:
        name: of its primitive.
        params: of its primitive.
        ins: what its operands are called; None for literals.
        in_avals: shapes and types of the operands.
        outs: what its results are called.
        out_avals: shapes and types of the results.
        inner: jaxprs of a loop or condition, and how often each runs.
    """

    name: str
    params: dict
    ins: tuple
    in_avals: tuple
    outs: tuple
    out_avals: tuple
    inner: tuple = ()


def live_nodes(jaxpr: Any) -> tuple[list[Node], set]:
    """Inlines calls, and leaves out what no result depends on.

    Args:
        jaxpr: closed or open.

    Returns:
        The nodes in order, and what the results are called.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    named: dict[Any, Any] = {v: v for v in (*jaxpr.invars, *jaxpr.constvars)}
    nodes: list[Node] = []
    _inline(jaxpr, named, nodes, ())
    results = {_name(v, named) for v in jaxpr.outvars} - {None}
    needed, kept = set(results), []
    for node in reversed(nodes):
        if needed.intersection(node.outs) or (node.inner and not node.outs):
            needed.update(name for name in node.ins if name is not None)
            kept.append(node)
    return kept[::-1], results


def _inline(jaxpr: Any, named: dict, nodes: list[Node], path: tuple) -> None:
    """Appends the nodes of a jaxpr whose inputs are named already; `path` keeps names apart."""
    for index, equation in enumerate(jaxpr.eqns):
        place = (*path, index)
        ins = tuple(_name(v, named) for v in equation.invars)
        called = _called(equation)
        if called is not None:
            inside = getattr(called, "jaxpr", called)
            inner = dict(zip(inside.invars, ins[len(ins) - len(inside.invars) :], strict=True))
            inner |= {v: (place, "constant", i) for i, v in enumerate(inside.constvars)}
            _inline(inside, inner, nodes, place)
            outs = [_name(v, inner) for v in inside.outvars]
            named.update(zip(equation.outvars, outs, strict=True))
            continue
        outs = tuple((place, i) for i in range(len(equation.outvars)))
        named.update(zip(equation.outvars, outs, strict=True))
        in_avals, out_avals = (
            tuple(v.aval for v in of) for of in (equation.invars, equation.outvars)
        )
        name, params = equation.primitive.name, equation.params
        inner_of = tuple(_loops(name, params))
        nodes.append(Node(name, params, ins, in_avals, outs, out_avals, inner_of))


def _name(atom: Any, named: dict) -> Any:
    return None if hasattr(atom, "val") else named[atom]


def _called(equation: Any) -> Any:
    """The jaxpr of a call (jit, custom derivatives, rematerialization); None for anything else.

    Of `jax.lax.platform_dependent` it is the last branch, that of the platforms without a name.
    """
    if equation.params.get("branches_platforms"):
        return equation.params["branches"][-1]
    if equation.primitive.name in REDUCES or equation.primitive.name in ("scan", "while", "cond"):
        return None
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        value = equation.params.get(key)
        if hasattr(value, "eqns"):
            return value
    return None


def _loops(name: str, params: dict) -> Iterator[tuple[Any, float]]:
    """The jaxprs of a loop or a condition, and how often each runs."""
    if name == "scan":
        yield params["jaxpr"], float(params["length"])
    elif name == "while":
        yield params["cond_jaxpr"], 1.0
        yield params["body_jaxpr"], 1.0
    elif name == "cond":
        for branch in params["branches"]:
            yield branch, 1.0


def aval_size(aval: Any) -> int:
    """Returns the number of elements of an array.

    Args:
        aval: its shape and type.

    Returns:
        The number.
    """
    return math.prod(getattr(aval, "shape", ()))


def aval_bytes(aval: Any) -> float:
    """Returns the bytes of an array.

    Args:
        aval: its shape and type; a typed key has those of its words.

    Returns:
        Bytes; 0 for what is no array.
    """
    dtype = getattr(aval, "dtype", None)
    return aval_size(aval) * float(getattr(dtype, "itemsize", 0))
