"""Matrix products and convolutions of a function in bfloat16, and all else as it is.

The function is traced to a jaxpr. In it each product of numbers wider than bfloat16 becomes

    convert its operands to bfloat16, multiply, convert the result back,

inside loops, conditions, `jit` and `jax.checkpoint` too. No other equation changes, and no type of
a variable, so the function may be any function of JAX. The multiplication accumulates in float32
(XLA, oneDNN). Each factor and the result are rounded by a share of at most 2^-9. Gradients are
products of bfloat16 as well, since derivatives of the conversions are conversions.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import (
    ClosedJaxpr,
    Jaxpr,
    JaxprEqn,
    Var,
    jaxpr_as_fun,
    new_jaxpr_eqn,
    no_effects,
)
from jax.extend.core.primitives import convert_element_type_p

from dgm_jax.core import PyTree
from dgm_jax.networks.layers.bilinear import convolution_p

NARROW = jnp.dtype(jnp.bfloat16)
PRODUCTS = frozenset(("dot_general", "conv_general_dilated", convolution_p.name))
# Equations whose inner jaxprs are rewritten. Others that have one keep it: a kernel, or a function
# with derivatives of its own, to which its inner jaxpr would no longer belong.
_CALLS = frozenset("jit pjit closed_call remat2 checkpoint scan while cond".split())
# What an equation says when no precision was asked for; any other was asked for, and is kept.
_ANY_PRECISION = (None, "default", "bfloat16", "fastest", jax.lax.Precision.DEFAULT)


class Traced(NamedTuple):
    """A function on some arguments, as a jaxpr.

    Attributes:
        jaxpr: its inputs are the arrays among the leaves of the arguments.
        shapes: tree of the results' shapes and types.
        places: which leaves are arrays; all others are constants of the jaxpr.
    """

    jaxpr: ClosedJaxpr
    shapes: PyTree
    places: tuple[int, ...]


def trace(function: Callable[..., PyTree], *arguments: PyTree) -> Traced:
    """Trace a function once.

    Args:
        function: `(*arguments) -> tree`.
        *arguments: trees.

    Returns:
        The function on arguments of these shapes.
    """
    leaves, structure = jax.tree.flatten(arguments)
    places = tuple(i for i, leaf in enumerate(leaves) if isinstance(leaf, (jax.Array, np.ndarray)))

    def of_arrays(*arrays: Any) -> PyTree:
        given = list(leaves)
        for place, array in zip(places, arrays, strict=True):
            given[place] = array
        return function(*jax.tree.unflatten(structure, given))

    arrays = [leaves[place] for place in places]
    return Traced(*jax.make_jaxpr(of_arrays, return_shape=True)(*arrays), places)


def with_narrow_products(traced: Traced, *arguments: PyTree) -> PyTree:
    """Compute a traced function with its products in bfloat16.

    Args:
        traced: the function.
        *arguments: trees like those that it was traced with.

    Returns:
        The results, in the types of `traced.shapes`.
    """
    leaves = jax.tree.leaves(arguments)
    arrays = [leaves[place] for place in traced.places]
    results = jaxpr_as_fun(_rewritten(traced.jaxpr))(*arrays)
    return jax.tree.unflatten(jax.tree.structure(traced.shapes), results)


def narrow_products(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Transform a function so that its products take operands of bfloat16.

    A product that asks for a precision of its own, such as `jnp.dot(a, b, precision="highest")`,
    is left alone, and so are those inside of `jax.custom_jvp`, `jax.custom_vjp` and kernels.

    Args:
        function: `(*arguments) -> tree`, traced anew at each call.

    Returns:
        `(*arguments) -> tree` with the same structure and types.
    """

    def narrowed(*arguments: PyTree) -> PyTree:
        return with_narrow_products(trace(function, *arguments), *arguments)

    return narrowed


def _rewritten(value: Any) -> Any:
    """A jaxpr with narrow products, or the jaxprs of a tuple; the same object if it has none."""
    if isinstance(value, tuple):
        inner = tuple(map(_rewritten, value))
        return inner if any(a is not b for a, b in zip(inner, value, strict=True)) else value
    if isinstance(value, Jaxpr):  # in some versions of JAX closed ones are of this type, too
        equations = [new for old in value.eqns for new in _of_equation(old)]
        changed = len(equations) != len(value.eqns) or any(
            a is not b for a, b in zip(equations, value.eqns, strict=True)
        )
        return value.replace(eqns=equations) if changed else value
    if isinstance(value, ClosedJaxpr):
        inner = _rewritten(value.jaxpr)
        return value if inner is value.jaxpr else value.replace(jaxpr=inner)
    return value


def _of_equation(equation: JaxprEqn) -> Iterator[JaxprEqn]:
    """What takes the place of an equation."""
    if _is_wide_product(equation):
        yield from _narrowed(equation)
    elif equation.primitive.name in _CALLS:
        params = {name: _rewritten(value) for name, value in equation.params.items()}
        changed = any(params[name] is not equation.params[name] for name in params)
        yield equation.replace(params=params) if changed else equation
    else:
        yield equation


def _is_wide_product(equation: JaxprEqn) -> bool:
    if equation.primitive.name not in PRODUCTS:
        return False
    precision = equation.params["precision"]
    of_operands = precision if isinstance(precision, tuple) else (precision,)
    avals: list[Any] = [atom.aval for atom in (*equation.invars, *equation.outvars)]
    return all(each in _ANY_PRECISION for each in of_operands) and all(
        is_wide(aval.dtype) for aval in avals
    )


def is_wide(dtype: Any) -> bool:
    """Return whether a type is floating and wider than bfloat16.

    Args:
        dtype: any type, typed keys' too.

    Returns:
        True for float32 and float64.
    """
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits > jnp.finfo(NARROW).bits


def _narrowed(equation: JaxprEqn) -> Iterator[JaxprEqn]:
    """The conversions and the product."""

    def conversion(source, target):
        params = {"new_dtype": target.aval.dtype, "weak_type": target.aval.weak_type}
        params["sharding"] = None
        return new_jaxpr_eqn(
            [source],
            [target],
            convert_element_type_p,
            params,
            no_effects,
            equation.source_info,
            equation.ctx,
        )

    def narrow(variable) -> Var:
        return Var(variable.aval.update(dtype=NARROW, weak_type=False))

    (wide,) = equation.outvars
    result = narrow(wide)
    operands: list[Any] = [narrow(atom) for atom in equation.invars]
    for atom, operand in zip(equation.invars, operands, strict=True):
        yield conversion(atom, operand)
    params = dict(equation.params)
    if params.get("preferred_element_type") is not None:
        params["preferred_element_type"] = NARROW
    yield equation.replace(invars=operands, outvars=[result], params=params)
    yield conversion(result, wide)
