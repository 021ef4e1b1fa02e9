"""Counts the bytes that a traced step reads and writes.

XLA computes chains of elementwise operations without writing what lies between. Written, and read
where they are used, are

- operands and results of products, convolutions, sorts, gathers and scatters, and what a loop
  carries;
- results of reductions, and what is used before and after a reduction, unless it is a comparison,
  which each of its users makes again;
- a transposed result of a product: XLA copies it to the layout of its users;
- results of divisions and of elementary functions (exp, log, tanh and the like) that are used more
  than once: XLA repeats only cheap operations (`xla::InstructionFusion::IsExpensive`).

What is c x + c y with one number c, such as Adam's first moment for a decay of 1/2, is computed
anew by each of its users, though it is written.

A loop overwrites what it carries. XLA copies an array before, which is a read and a write more,
where something reads the old one that need not be done by then: the gradient with respect to the
input of a layer reads its kernel, whose new value waits for its own gradient only.

For twelve programs of three families, compiled for a CPU, these rules are within 14 % of XLA's own
count (`python -m benchmarks.plan`, 2026-12-01; docs/scaling.md).
"""

import collections
from typing import Any

from dgm_jax.run.equations import MOVES, REDUCES, Node, aval_bytes

_PRODUCTS = frozenset(("dot_general", "conv_general_dilated"))
_OPAQUE = frozenset(("sort", "gather", "scatter", "scatter-add", "top_k", "cholesky", "eigh"))
_EXPENSIVE = frozenset(
    "exp exp2 log log1p expm1 tanh logistic erf erf_inv pow sqrt rsqrt cbrt sin cos tan atan2"
    " lgamma digamma div rem".split()
)
_COMPARISONS = frozenset("eq ne lt le gt ge".split())
_RELABELS = frozenset(("reshape", "squeeze", "expand_dims"))


def traffic(nodes: list[Node], results: set) -> tuple[float, float]:
    """Counts the bytes of one level; the turns of loops count their own.

    Args:
        nodes: in order, of `dgm_jax.run.equations.live_nodes`.
        results: what the results of the level are called, None included.

    Returns:
        Bytes read and written, and bytes of the intermediate results that are written.
    """
    results = results - {None}
    made = {name: node for node in nodes for name in node.outs}
    sizes = _sizes(nodes)
    written = _written(nodes, results, made)
    moved = 0.0
    kept = 0.0
    for node in nodes:
        outs = [name for name in node.outs if name in written]
        if not outs or node.inner:
            continue
        sources = _sources(node, made, written)
        bytes_written = sum(sizes[name] for name in outs)
        bytes_read = sum(sizes[name] for name in sources)
        moved += bytes_written + bytes_read
        intermediate = [name for name in outs if name not in results]
        kept += sum(sizes[name] for name in intermediate)
    return moved, kept


def copied(nodes: list[Node], carried: list[tuple[Any, Any]], results: set) -> float:
    """Counts the bytes of copies of what a loop overwrites while it is still read.

    Args:
        nodes: of one turn, in order.
        carried: names of operands, each with that of the result that replaces it.
        results: what all results are called.

    Returns:
        Bytes read and written.
    """
    made = {name: node for node in nodes for name in node.outs}
    sizes = _sizes(nodes)
    written = _written(nodes, results - {None}, made)
    before: dict[Any, set] = {}  # of what is written: what has to be there first
    readers: dict[Any, set] = collections.defaultdict(set)
    for node in nodes:
        outs = [name for name in node.outs if name in written]
        sources = _sources(node, made, written) if outs else set()
        earlier = sources.union(*(before[name] for name in sources if name in before))
        for name in outs:
            before[name] = earlier
            for source in sources:
                readers[source].add(name)
    moved = 0.0
    for old, new in carried:
        if new not in before:
            continue
        settled = before[new].union(made[new].outs)
        if not readers[old] <= settled:
            moved += 2 * sizes[old]
    return moved


def _sizes(nodes: list[Node]) -> dict[Any, float]:
    """The bytes of all results and operands, by what they are called."""
    sizes = {}
    for node in nodes:
        for name, aval in zip(node.outs, node.out_avals, strict=True):
            sizes[name] = aval_bytes(aval)
    for node in nodes:
        for name, aval in zip(node.ins, node.in_avals, strict=True):
            sizes[name] = aval_bytes(aval)
    return sizes


def _written(nodes: list[Node], results: set, made: dict) -> set:
    """What is written to memory.

    A chain that has to wait for a reduction cannot be computed together with one that feeds it, so
    what both use is written too.
    """
    written = set(results)
    stages: dict[Any, int] = {}  # of a name: how many of those come before it, at most
    used: dict[Any, list] = collections.defaultdict(list)  # in which stages
    for node in nodes:
        stages_of_operands = [stages.get(name, 0) for name in node.ins]
        stage = max(stages_of_operands, default=0)
        for name in set(node.ins):
            used[name].append(stage)
        fuses = _fuses(node)
        ends_stage = not fuses or node.name in REDUCES
        for name in node.outs:
            stages[name] = stage + 1 if ends_stage else stage
        if not fuses:
            written.update(name for name in node.ins if name is not None)
        if ends_stage:
            written.update(node.outs)
    for node in nodes:
        written.update(name for name in node.outs if _is_kept(node, used[name], made))
    return written


def _is_kept(node: Node, stages: list[int], made: dict) -> bool:
    """Whether a result of a node is written for the sake of its users, in those stages."""
    if node.name == "transpose":
        return _is_transposed_product(node, made)
    if node.name in MOVES or node.name in _COMPARISONS:
        return False
    if len(set(stages)) > 1:
        return True
    return node.name in _EXPENSIVE and len(stages) > 1


def _is_transposed_product(node: Node, made: dict) -> bool:
    """Whether a transposition reorders what a product has made."""
    shape = node.in_avals[0].shape
    moving = [axis for axis in node.params["permutation"] if shape[axis] > 1]
    if moving == sorted(moving):
        return False
    source = made.get(node.ins[0])
    while source is not None and source.name in _RELABELS:
        source = made.get(source.ins[0])
    return source is not None and source.name in _PRODUCTS


def _sources(node: Node, made: dict, written: set) -> set:
    """What has to be read for a node's results: written arrays at the ends of its chains."""
    sources: set = set()
    seen: set = set()
    pending = list(node.ins)
    while pending:
        name = pending.pop()
        if name is None or name in seen:
            continue
        seen.add(name)
        if name not in made or (name in written and not _is_factored(made[name], made)):
            sources.add(name)
        else:
            pending += made[name].ins
    return sources


def _is_factored(node: Node, made: dict) -> bool:
    """Whether a node is c x + c y with a number c, from which XLA makes c (x + y)."""
    terms = [made.get(name) for name in node.ins]
    factors = {None if term is None else term.factor for term in terms}
    return node.name == "add" and len(factors) == 1 and None not in factors


def _fuses(node: Node) -> bool:
    """Whether XLA can compute a node together with its operands."""
    stands_alone = node.name in _PRODUCTS or node.name in _OPAQUE
    return not node.inner and not stands_alone
