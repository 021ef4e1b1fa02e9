# make demo: set up and run a small job.  make study: the main job.  make test: set up and run the tests.
# make lint: formatter, linter and types, checked.  make format: the same, mended where a tool can.
# All need python3 (3.11 or newer, with venv) and make, nothing else.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
OUT ?=

.PHONY: demo docs study lint format test test-quick test-optimized test-plain test-newest test-slow test-faults setup setup-docs setup-lint setup-test accelerator benchmark clean

setup: $(VENV)/.installed
setup-test: $(VENV)/.installed-test
setup-lint: $(VENV)/.installed-lint
setup-docs: $(VENV)/.installed-docs

# One install each, of the versions that constraints.txt pins for this Python. Python compiles what it imports at
# its first import; pip would compile everything.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[onednn]"
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-lint: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[lint]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs,onednn]"
	touch $@ $(VENV)/.installed

# docs/gan_ring.png: make demo OUT=runs/demo, then .venv/bin/dgm-jax sample runs/demo --out docs/gan_ring.png
demo: setup
	$(BIN)/dgm-jax run gan_ring --num_seeds 4 --num_steps 2000 --log_every 250 --learning_rate 1e-3 $(if $(OUT),--out $(OUT))

study: setup
	$(BIN)/python -m experiments.gan_ring --num_seeds 5 --num_steps 10000 --method vanilla packed2 $(if $(OUT),--out $(OUT))

# The pages, with their examples executed, in docs/_build/html. Asks no server for anything.
docs: setup-docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

# Formatter, linter and types, as .ci/run and pre-commit call them. pyright asks no server for news.
lint: setup-lint
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

format: setup-lint
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Most tests on programs that are compiled with little effort, the others as for a user.
PYTEST = $(BIN)/python -m pytest --numprocesses 2 --dist loadfile
test: test-quick test-optimized

# LEFT_OUT: flags such as --ignore=tests/data.
test-quick: setup-test
	$(PYTEST) $(LEFT_OUT) -m "not slow and not optimized" --quick-compile

# Collects only files that have such tests.
test-optimized: setup-test
	$(PYTEST) -m "not slow and optimized" $(shell grep -rl --include="test_*.py" "mark\.optimized" tests)

# The networks that have convolutions once more, without oneDNN.
test-plain: setup-test
	DGM_JAX_CONVOLUTIONS=plain $(PYTEST) -m "not slow" --quick-compile \
	  $(filter-out $(addprefix tests/networks/test_,$(WITHOUT_CONVOLUTIONS:=.py)),$(wildcard tests/networks/test_*.py))
WITHOUT_CONVOLUTIONS = adapter networks_mlp networks_normalization transformer

test-slow: setup-test
	$(BIN)/python -m pytest -m slow

# Kills, full disks, damaged and hostile files, signals, wrong settings, in numbers; names choose some of them.
FAULTS ?=
test-faults: setup-test
	$(BIN)/python tests/faults $(FAULTS)

# The same suite on the newest Python and JAX.
NEWEST ?= python3.13
test-newest:
	$(MAKE) test VENV=.venv-newest PYTHON=$(NEWEST)

# The first look at a machine with a GPU or TPU (a smaller one on a CPU): rates, steps and tests, in nine
# minutes after the installation; one file, benchmarks/results/DEVICE/jaxlib_VERSION/accelerator.json.
JAX_EXTRA ?= $(if $(shell command -v nvidia-smi),cuda13,$(if $(wildcard /dev/accel*),tpu))
accelerator: setup-test
	$(if $(JAX_EXTRA),$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt "jax[$(JAX_EXTRA)]")
	$(BIN)/python -m benchmarks.accelerator

# Goes on where the last call stopped: make benchmark MINUTES=20.
MINUTES ?=
benchmark: setup
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[onednn,benchmark]"
	$(BIN)/python -m benchmarks $(if $(MINUTES),--minutes $(MINUTES))
	$(BIN)/python -m benchmarks --page

clean:
	rm -rf .venv .venv-newest .jax_cache .pytest_cache .ruff_cache build *.egg-info
