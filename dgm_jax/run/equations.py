"""The equations of a traced program as one list: calls inlined, without what no result needs."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

# Primitives that move or relabel data without arithmetic.
MOVES = frozenset(
    "broadcast_in_dim reshape transpose squeeze expand_dims convert_element_type copy copy_p slice"
    " dynamic_slice dynamic_update_slice concatenate pad rev gather iota stop_gradient"
    " bitcast_convert_type random_wrap random_unwrap random_seed split device_put"
    " sharding_constraint optimization_barrier create_token pvary select_and_gather_add"
    " empty full_like dgm_jax_spread dgm_jax_cpu_barrier".split()
)
# Primitives that combine elements of an operand; their jaxprs say how two are combined.
REDUCES = frozenset(
    "reduce_sum reduce_max reduce_min reduce_prod reduce_and reduce_or reduce_xor argmax argmin"
    " reduce_precision cumsum cumlogsumexp cummax cummin cumprod scatter-add scatter scatter_add"
    " reduce reduce_window reduce_window_sum reduce_window_max select_and_scatter_add"
    " dgm_jax_total dgm_jax_row_total".split()
)


class Turn(NamedTuple):
    """What a loop or a condition runs.

    Attributes:
        jaxpr: of one turn.
        times: how often it runs.
        num_constants: number of its first operands that stay the same.
        num_carried: number of operands behind these that its first results replace.
    """

    jaxpr: Any
    times: float = 1.0
    num_constants: int = 0
    num_carried: int = 0


class Node(NamedTuple):
    """An equation of a jaxpr after calls were inlined.

    Attributes:
        name: of its primitive.
        params: of its primitive.
        ins: what its operands are called; None for literals.
        in_avals: shapes and types of the operands.
        outs: what its results are called.
        out_avals: shapes and types of the results.
        inner: what a loop or condition runs.
        factor: of a product with a number that is written in the program; None for other nodes.
    """

    name: str
    params: dict
    ins: tuple
    in_avals: tuple
    outs: tuple
    out_avals: tuple
    inner: tuple[Turn, ...] = ()
    factor: complex | None = None


def live_nodes(jaxpr: Any) -> tuple[list[Node], list]:
    """Inlines calls, and leaves out what no result depends on.

    Args:
        jaxpr: closed or open.

    Returns:
        The nodes in order, and what the results are called in order, None for literals.
    """
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    inputs = (*jaxpr.invars, *jaxpr.constvars)
    named: dict[Any, Any] = {variable: variable for variable in inputs}
    nodes: list[Node] = []
    _inline(jaxpr, named, nodes, ())
    results = [_name(v, named) for v in jaxpr.outvars]
    needed = set(results)
    kept = []
    for node in reversed(nodes):
        is_needed = not needed.isdisjoint(node.outs)
        has_only_effects = node.inner and not node.outs
        if is_needed or has_only_effects:
            needed.update(name for name in node.ins if name is not None)
            kept.append(node)
    kept.reverse()
    return kept, results


def _inline(jaxpr: Any, named: dict, nodes: list[Node], path: tuple) -> None:
    """Appends the nodes of a jaxpr whose inputs are named already; `path` keeps names apart."""
    for index, equation in enumerate(jaxpr.eqns):
        place = (*path, index)
        ins = tuple(_name(v, named) for v in equation.invars)
        called = _called(equation)
        if called is not None:
            outs = _inline_call(called, ins, nodes, place)
        else:
            node = _node(equation, ins, place)
            nodes.append(node)
            outs = node.outs
        named.update(zip(equation.outvars, outs, strict=True))


def _inline_call(called: Any, ins: tuple, nodes: list[Node], place: tuple) -> list:
    """Appends the nodes of a call; returns what its results are called."""
    inside = getattr(called, "jaxpr", called)
    num_before = len(ins) - len(inside.invars)  # operands that the call does not pass on
    named = dict(zip(inside.invars, ins[num_before:], strict=True))
    for index, variable in enumerate(inside.constvars):
        named[variable] = (place, "constant", index)
    _inline(inside, named, nodes, place)
    return [_name(v, named) for v in inside.outvars]


def _node(equation: Any, ins: tuple, place: tuple) -> Node:
    """An equation that is no call; `place` names its results."""
    name = equation.primitive.name
    in_avals = tuple(v.aval for v in equation.invars)
    num_results = len(equation.outvars)
    outs = tuple((place, index) for index in range(num_results))
    out_avals = tuple(v.aval for v in equation.outvars)
    inner = tuple(_turns(equation))
    factor = _factor(equation) if name == "mul" else None
    return Node(name, equation.params, ins, in_avals, outs, out_avals, inner, factor)


def _factor(equation: Any) -> complex | None:
    numbers = [v.val for v in equation.invars if hasattr(v, "val")]
    return np.asarray(numbers[0]).item() if numbers else None


def _name(atom: Any, named: dict) -> Any:
    is_literal = hasattr(atom, "val")
    return None if is_literal else named[atom]


def _called(equation: Any) -> Any:
    """The jaxpr of a call (jit, custom derivatives, rematerialization); None for anything else.

    Of `jax.lax.platform_dependent` it is the last branch, that of the platforms without a name.
    """
    name = equation.primitive.name
    params = equation.params
    if params.get("branches_platforms"):
        return params["branches"][-1]
    if name in REDUCES or name in ("scan", "while", "cond"):
        return None
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        value = params.get(key)
        if hasattr(value, "eqns"):
            return value
    return None


def _turns(equation: Any) -> Iterator[Turn]:
    """What a loop or a condition runs; nothing for other primitives."""
    name = equation.primitive.name
    params = equation.params
    if name == "scan":
        yield _scan_turn(equation)
    elif name == "while":
        body = params["body_jaxpr"]
        yield Turn(params["cond_jaxpr"])
        yield Turn(body, 1.0, params["body_nconsts"], len(body.out_avals))
    elif name == "cond":
        for branch in params["branches"]:
            yield Turn(branch)


def _scan_turn(equation: Any) -> Turn:
    """A turn of a scan: what it goes along has an axis more outside, what it carries has not."""
    body = equation.params["jaxpr"]
    num_along = _with_an_axis_more(equation.invars, body.in_avals)
    num_stacked = _with_an_axis_more(equation.outvars, body.out_avals)
    num_carried = len(body.out_avals) - num_stacked
    num_constants = len(body.in_avals) - num_along - num_carried
    return Turn(body, float(equation.params["length"]), num_constants, num_carried)


def _with_an_axis_more(outside: Any, inside: Any) -> int:
    pairs = zip(outside, inside, strict=True)
    return sum(len(atom.aval.shape) > len(aval.shape) for atom, aval in pairs)


def aval_size(aval: Any) -> int:
    """Returns the number of elements of an array.

    Args:
        aval: its shape and type.

    Returns:
        The number.
    """
    shape = getattr(aval, "shape", ())
    return math.prod(shape)


def aval_bytes(aval: Any) -> float:
    """Returns the bytes of an array.

    Args:
        aval: its shape and type; a typed key has those of its words.

    Returns:
        Bytes; 0 for what is no array.
    """
    dtype = getattr(aval, "dtype", None)
    bytes_each = getattr(dtype, "itemsize", 0)
    return aval_size(aval) * float(bytes_each)
