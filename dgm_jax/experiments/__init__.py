"""A checkout's experiments, which lie in the folder `experiments` beside this package.

This file only points there. Packaging puts that folder in its place (`package-dir` in
pyproject.toml), so a wheel has the experiments here and owns no top-level name `experiments`, which
users give to packages of their own. It lies in the package, not in what an editable install adds,
so that a checkout that comes first on `sys.path` brings its own experiments with it.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import pathlib
import sys

__path__ = [str(pathlib.Path(__file__).parents[2] / "experiments")]


class _SameModule(importlib.machinery.SourceFileLoader):
    """Loads `experiments.NAME` as the module `dgm_jax.experiments.NAME`, once and under that name.

    Its `name` is the latter, so relative imports of a module that runs as `__main__` find it too.
    """

    def __init__(self, fullname, path, asked_for):
        super().__init__(fullname, path)
        self.asked_for = asked_for

    def create_module(self, spec):
        module = importlib.import_module(self.name)
        self.first_spec = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.first_spec  # the import statement has just put its own in its place
        if hasattr(module, "__path__"):
            sys.modules[self.asked_for] = module  # where the import of its parts looks for it

    def get_code(self, fullname):
        return super().get_code(self.name)  # `python -m` asks by the name it was given


class _OneName(importlib.abc.MetaPathFinder):
    """Finds `experiments.NAME` where `experiments` is this package, not one of the user's own."""

    def find_spec(self, fullname, path, target=None):
        top, _, rest = fullname.partition(".")
        if not rest or sys.modules.get(top) is not sys.modules[__name__]:
            return None
        name = f"{__name__}.{rest}"
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.spec_from_file_location(
            name,
            spec.origin,
            loader=_SameModule(name, spec.origin, fullname),
            submodule_search_locations=spec.submodule_search_locations,
        )


sys.meta_path.insert(0, _OneName())
