"""The packages of a wheel; all else stands in pyproject.toml.

`dgm_jax.experiments` and what is below it lie in the folder `experiments` (package-dir there),
where setuptools does not look for packages of dgm_jax.
"""

from setuptools import find_packages, setup

library = find_packages(include=["dgm_jax", "dgm_jax.*"])
studies = [f"dgm_jax.{name}" for name in find_packages(include=["experiments.*"])]
setup(packages=library + studies)
