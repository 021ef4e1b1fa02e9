"""Who may import what, who may touch what, and what every public function says about itself.

Everything here reads source code with `ast`; nothing is imported or run.
"""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# The rooms of dgm_jax, and the rooms each may import besides itself.
MAY_IMPORT = {
    "_backend": {"probe"},
    "_cache": set(),
    "probe": set(),
    "core": set(),
    "sampling": {"core"},
    "densities": {"core"},
    "flows": {"core"},
    "native": {"core"},
    "networks": {"native", "core"},
    "data": {"core"},
    "plotting": {"core"},
    "training": {"parallel", "core"},
    "parallel": {"core"},
    "quantization": {"sampling", "densities", "core"},
    "objectives": {"sampling", "densities", "core"},
    "priors": {"flows", "densities", "core"},
    "likelihood": {"objectives", "densities", "core"},
    "evaluation": {"objectives", "densities", "core"},
    "models": {
        "networks",
        "priors",
        "objectives",
        "likelihood",
        "quantization",
        "sampling",
        "densities",
        "flows",
        "core",
    },
    "store": {"core"},
    "terminal": {"core"},
    "report": {"plotting", "store", "core"},
    "run": {"native", "training", "parallel", "store", "report", "terminal", "core"},
    "cli": {"run", "report", "store", "terminal", "core"},
    "__main__": {"cli"},
}
MATHS = ("core", "sampling", "densities", "flows", "quantization", "objectives")

# Packages that live in a few rooms only.
AT_HOME = {
    "flax": {"networks"},
    "optax": {"training", "models"},
    "orbax": {"training"},
    "matplotlib": {"plotting"},
    "torch": set(),
    "tensorflow": set(),
    "tensorflow_datasets": {"data"},
    "rich": {"terminal"},
    "jinja2": {"report"},
    "filelock": {"native", "store"},
    "safetensors": {"store"},
    "tyro": {"cli", "run"},
}
FILES = {
    "os",
    "io",
    "pathlib",
    "shutil",
    "tempfile",
    "glob",
    "subprocess",
    "socket",
    "urllib",
    "pickle",
}

PER_DEVICE = {
    "pmap",
    "shard_map",
    "pjit",
    "psum",
    "pmean",
    "pmax",
    "pmin",
    "all_gather",
    "all_to_all",
    "ppermute",
    "axis_index",
    "axis_size",
    "psum_scatter",
    "with_sharding_constraint",
    "NamedSharding",
    "PartitionSpec",
    "Mesh",
    "make_mesh",
}
COMPILES = {"jit", "pjit", "pmap", "shard_map"}


@functools.cache
def trees():
    """{path relative to the root: syntax tree} of every module."""
    files = [
        f
        for top in ("dgm_jax", "experiments", "benchmarks")
        for f in sorted((ROOT / top).rglob("*.py"))
    ]
    return {f.relative_to(ROOT): ast.parse(f.read_text("utf-8"), str(f)) for f in files}


def room(path):
    """ "training" for dgm_jax/training/loop.py, "cli" for dgm_jax/cli.py, "" for
    dgm_jax/__init__.py, None for experiments and benchmarks."""
    if path.parts[0] != "dgm_jax" or path.parts[1] == "experiments":
        return None
    if len(path.parts) == 2:
        return "" if path.stem == "__init__" else path.stem
    return path.parts[1]


def imports(path):
    """Dotted names that a module imports, `from a import b` as a.b."""
    for node in ast.walk(trees()[path]):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = path.parts[: len(path.parts) - node.level]
                if package and package[0] == "experiments":  # as packaging maps the folder
                    package = ("dgm_jax", *package)
                base = ".".join([*package, base]).rstrip(".")
            yield from (f"{base}.{name.name}" for name in node.names)


def names(tree):
    """Names and attributes that a module mentions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.alias):
            yield node.name.split(".")[-1]


ROOMS = sorted({room(path) for path in trees()} - {None, ""})


def modules_of(*rooms):
    return [path for path in trees() if room(path) in rooms]


def test_the_rooms_are_known():
    assert set(ROOMS) <= set(MAY_IMPORT), "a new room needs a row in MAY_IMPORT"
    assert {"core", "training", "parallel", "models", "run"} <= set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_what_it_may(name):
    allowed = MAY_IMPORT[name] | {name}
    wrong = []
    for path in modules_of(name):
        for target in imports(path):
            parts = target.split(".")
            if parts[0] in ("experiments", "benchmarks", "tests"):
                wrong.append(f"{path} imports {target}")
            elif parts[0] == "dgm_jax" and len(parts) > 1 and parts[1] not in allowed:
                if not parts[1].startswith("_"):  # dgm_jax.__version__ is no room
                    wrong.append(f"{path} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_the_package_itself_imports_no_room():
    wrong = [
        target
        for path in modules_of("")
        for target in imports(path)
        if target.startswith("dgm_jax") and not target.startswith("dgm_jax._")
    ]
    assert not wrong, "\n".join(wrong)


def test_experiments_do_not_import_each_other():
    """An experiment imports its own parts and what is shared, which knows no experiment."""
    wrong = []
    for path in trees():
        if path.parts[0] == "experiments" and len(path.parts) > 2:
            for target in imports(path):
                _, inside, found = f"{target}.".partition("experiments.")
                if inside and found.split(".")[0] not in (path.parts[1], "_shared"):
                    wrong.append(f"{path} imports {target}")
                if target.startswith("dgm_jax.cli"):
                    wrong.append(f"{path} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_an_experiment_is_a_folder_with_its_settings_apart():
    folders = {path.parts[1] for path in trees() if path.parts[0] == "experiments"}
    for name in folders - {"__init__.py", "_shared"}:
        inside = {path.name for path in trees() if path.parts[:2] == ("experiments", name)}
        assert {"__init__.py", "__main__.py", "task.py"} <= inside, name


@pytest.mark.parametrize("package", AT_HOME)
def test_a_package_stays_at_home(package):
    wrong = [
        f"{path} imports {target}"
        for path in trees()
        if room(path) is not None and room(path) not in AT_HOME[package]
        for target in imports(path)
        if target.split(".")[0] == package
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in MATHS if name in ROOMS])
def test_the_maths_touches_no_file(name):
    wrong = []
    for path in modules_of(name):
        wrong += [
            f"{path} imports {target}" for target in imports(path) if target.split(".")[0] in FILES
        ]
        for node in ast.walk(trees()[path]):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("open", "print")
            ):
                wrong.append(f"{path}:{node.lineno} calls {node.func.id}")
    assert not wrong, "\n".join(wrong)


def test_devices_are_the_business_of_parallel():
    """Axis names, collectives, meshes and placement appear nowhere else in dgm_jax."""
    wrong = []
    for path in trees():
        if room(path) not in (None, "parallel"):
            wrong += [
                f"{path} uses {name}" for name in sorted(set(names(trees()[path])) & PER_DEVICE)
            ]
    assert not wrong, "\n".join(wrong)


def test_compilation_is_the_business_of_those_who_run_things():
    """The maths, networks and models are plain functions. Metrics of finished samples
    (`evaluation`) are called from the host, so they may compile; the probe asks what the compiler
    makes of sums."""
    may = {"parallel", "training", "run", "evaluation", "likelihood", "probe"}
    wrong = []
    for path in trees():
        if room(path) is not None and room(path) not in may:
            wrong += [
                f"{path} uses {name}" for name in sorted(set(names(trees()[path])) & COMPILES)
            ]
    assert not wrong, "\n".join(wrong)


def test_seeds_are_mapped_in_parallel_only():
    """No signature outside the engine knows an axis of seeds."""
    wrong = []
    for path in trees():
        if room(path) in ("networks", "objectives", "models", *MATHS):
            for node in ast.walk(trees()[path]):
                if isinstance(node, ast.FunctionDef):
                    wrong += [
                        f"{path}:{node.lineno} {node.name}"
                        for a in arguments(node)
                        if a in ("num_seeds", "seeds")
                    ]
    assert not wrong, "\n".join(wrong)


# What functions say about themselves.


def arguments(node):
    args = node.args
    return [a.arg for a in (*args.posonlyargs, *args.args, *args.kwonlyargs)]


def public_definitions(path):
    """(qualified name, node, is a method) of public functions, classes and their public methods."""
    for node in trees()[path].body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield node.name, node, False
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                        yield f"{node.name}.{inner.name}", inner, True


def bases(path):
    """{class: names of all its methods that a base class of the same module has}."""
    classes = {node.name: node for node in trees()[path].body if isinstance(node, ast.ClassDef)}

    def methods(name):
        node = classes.get(name)
        own = {n.name for n in node.body if isinstance(n, ast.FunctionDef)} if node else set()
        return own | inherited(name)

    def inherited(name):
        above = (
            [b.id for b in classes[name].bases if isinstance(b, ast.Name)]
            if name in classes
            else []
        )
        return set().union(*map(methods, above))

    return {name: inherited(name) for name in classes}


def test_every_public_function_has_a_docstring():
    """A method that overrides one of its own module need not repeat it."""
    wrong = []
    for path in trees():
        if room(path) is None:
            continue
        if ast.get_docstring(trees()[path]) is None:
            wrong.append(f"{path}: the module")
        for name, node, method in public_definitions(path):
            owner, _, last = name.rpartition(".")
            told_above = method and (last == "setup" or last in bases(path)[owner])
            if ast.get_docstring(node) is None and not told_above:
                wrong.append(f"{path}:{node.lineno} {name}")
    assert not wrong, "\n".join(wrong)


# Functions whose subject comes before the key, each for a reason.
KEY_LATER = {
    "gradient_penalty": "the signature that the outside relies on: (critic, real, fake, key)",
    "dragan_penalty": "as gradient_penalty",
    "expectation": (
        "(estimator, key, objective, logits): what follows the estimator is the estimator's own"
        " signature"
    ),
    "init_state": "the engine's own functions take the game first",
    "move": "the engine's own functions take the game first",
    "look_ahead": "the engine's own functions take the game first",
    "loss_of_parts": "the engine's own functions take the game first",
}


def test_a_key_comes_first():
    wrong = []
    for path in trees():
        if room(path) is None:
            continue
        for name, node, method in public_definitions(path):
            if isinstance(node, ast.ClassDef) or name in KEY_LATER:
                continue
            given = arguments(node)[method:]
            if "key" in given and given[0] != "key":
                wrong.append(f"{path}:{node.lineno} {name}({', '.join(given)})")
    assert not wrong, "\n".join(wrong)


def test_no_module_draws_from_numpys_global_generator():
    """Randomness comes from keys, or from a `numpy.random.Generator` made from a seed on the
    spot."""
    allowed = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox"}
    wrong = []
    for path in trees():
        for node in ast.walk(trees()[path]):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Attribute)
                and node.value.attr == "random"
            ):
                root = node.value.value
                if (
                    isinstance(root, ast.Name)
                    and root.id in ("np", "numpy")
                    and node.attr not in allowed
                ):
                    wrong.append(f"{path}:{node.lineno} np.random.{node.attr}")
        wrong += [
            f"{path} imports random" for target in imports(path) if target.split(".")[0] == "random"
        ]
    assert not wrong, "\n".join(wrong)


def test_every_room_says_what_it_exports():
    """`__init__` of a room has a docstring; where it has `__all__`, it names everything the file
    imports, and nothing else (a module that is meant to be used as a name of the room counts)."""
    wrong = []
    for name in ROOMS:
        path = pathlib.Path("dgm_jax") / name / "__init__.py"
        if path not in trees():
            continue
        tree = trees()[path]
        listed = [
            element.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(getattr(t, "id", "") == "__all__" for t in node.targets)
            for element in node.value.elts
        ]
        defined = {
            t.id
            for n in tree.body
            if isinstance(n, ast.Assign)
            for t in n.targets
            if isinstance(t, ast.Name)
        }
        defined |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}
        seen_by_checkers = [
            inner
            for n in tree.body
            if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"
            for inner in n.body
        ]
        imported = {
            a.asname or a.name
            for n in (*tree.body, *seen_by_checkers)
            if isinstance(n, ast.ImportFrom)
            for a in n.names
            if n.module != "typing"
        }
        modules = {p.stem for p in trees() if room(p) == name} | {
            p.parts[2] for p in trees() if room(p) == name
        }
        if listed:
            wrong += [
                f"{path}: {x} is listed but not there"
                for x in set(listed) - imported - defined - modules
            ]
            wrong += [
                f"{path}: {x} is not in __all__"
                for x in imported - set(listed) - modules
                if x[0] != "_"
            ]
            wrong += [f"{path}: {x} is listed twice" for x in set(listed) if listed.count(x) > 1]
    assert not wrong, "\n".join(wrong)
