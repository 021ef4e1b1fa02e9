"""Which definitions of a package something reaches, read from its source alone.

A graph of names: a definition points at every definition that its code mentions, through imports,
attributes (`densities.gaussian.log_prob`) and names that a room passes on. What stands outside the
definitions is a root. Nothing is imported or run.
"""

import ast
from collections.abc import Iterable, Iterator
from typing import NamedTuple

Definition = tuple[str, str]  # the module's dotted name, the name in it
Module = tuple[str, None]  # a module as a whole
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
LOOPS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Scope(NamedTuple):
    """What the names of a module stand for.

    own: top-level name -> the statements that define it.
    imported: name -> (module, name in it), or (module, None) for a module.
    loose: statements that define no name; they run at import.
    """

    own: dict[str, list[ast.stmt]]
    imported: dict[str, Definition | Module]
    loose: list[ast.stmt]


def scope_of(source: str, module: str, is_package: bool = False) -> Scope:
    """The names of a module, `module` being its dotted name."""
    tree = ast.parse(source)
    scope = Scope({}, dict(_imports(tree, module, is_package)), [])
    for statement in tree.body:
        names = list(_defined(statement))
        for name in names:
            scope.own.setdefault(name, []).append(statement)
        if not names:
            scope.loose.append(statement)
    return scope


def _imports(tree: ast.Module, module: str, is_package: bool):
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                yield (alias.asname, (alias.name, None)) if alias.asname else (first, (first, None))
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                yield alias.asname or alias.name, (base, alias.name)


def _defined(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
    elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        yield statement.target.id


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes below one, without the insides of functions below it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)):
            yield from _own_nodes(child)


def _bound(node: ast.AST) -> set[str]:
    """Names that a function or comprehension binds for itself."""
    if not isinstance(node, (*FUNCTIONS, *LOOPS)):
        return set()
    names = {n.id for n in _own_nodes(node) if isinstance(n, ast.Name) and is_store(n)}
    return names | {n.arg for n in _own_nodes(node) if isinstance(n, ast.arg)}


def is_store(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def mentions(node: ast.AST, local: frozenset[str] = frozenset()) -> Iterator[list[str]]:
    """Global names that code mentions, each with the attributes that follow it."""
    local = local | _bound(node)
    chain, rest = node, []
    while isinstance(chain, ast.Attribute):
        rest.insert(0, chain.attr)
        chain = chain.value
    if isinstance(chain, ast.Name):
        if chain.id not in local:
            yield [chain.id, *rest]
        return
    for child in ast.iter_child_nodes(node):
        yield from mentions(child, local)


class Package:
    """The modules of a package, and those that use it, by their dotted names."""

    def __init__(self, scopes: dict[str, Scope]):
        self.scopes = scopes

    def attribute(self, module: str, name: str, rest: list[str]) -> Definition | None:
        """The definition that `module.name.rest` leads to; None where that is a module, or none
        of the package's."""
        if module not in self.scopes:
            return None
        if name in self.scopes[module].own:
            return module, name
        target = self.scopes[module].imported.get(name)
        if target is not None and target != (module, name):
            return self._follow(target, rest)
        return self._follow((f"{module}.{name}", None), rest)

    def _follow(self, target: Definition | Module, rest: list[str]) -> Definition | None:
        module, name = target
        if name is not None:
            return self.attribute(module, name, rest)
        return self.attribute(module, rest[0], rest[1:]) if rest else None

    def edges(self, module: str, statements: Iterable[ast.stmt]) -> Iterator[Definition]:
        """The definitions that statements of a module mention."""
        scope = self.scopes[module]
        for statement in statements:
            for name, *rest in mentions(statement):
                known = name in scope.own or name in scope.imported
                found = self.attribute(module, name, rest) if known else None
                if found is not None:
                    yield found

    def reached(self, roots: Iterable[Definition]) -> set[Definition]:
        """Everything that the roots, and what runs when a module is imported, lead to."""
        waiting = [*roots]
        for module, scope in self.scopes.items():
            waiting += self.edges(module, scope.loose)
        seen = set()
        while waiting:
            definition = waiting.pop()
            if definition not in seen:
                seen.add(definition)
                module, name = definition
                waiting += self.edges(module, self.scopes[module].own[name])
        return seen
