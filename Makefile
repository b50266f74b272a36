# `make demo` and `make test` set everything up themselves in a fresh clone.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready

OLDEST = $(VENV)/oldest
AUTOML = $(VENV)/automl
BENCHMARKS = $(VENV)/benchmarks
CLUSTER = $(VENV)/cluster
RIVALS = $(VENV)/rivals
DOCS   = $(VENV)/docs
WORKERS ?= 2
# a process per core with one thread each: the networks of the tests are small
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test test-all test-fast test-gpu test-oldest test-automl test-cluster test-versions \
    test-extras release-check benchmark-forecast benchmark-rivals gallery notebooks docs docs-links lint clean

demo: $(READY)
	$(BIN)/finetune-tabpfn demo --out demo-output

test: lint
	$(PYTEST)

# nothing shortened: twenty kills instead of four, all examples and notebooks
test-all: lint
	$(PYTEST) --all

# every example and notebook as it stands, of which `make test` runs a few
gallery: $(READY)
	$(PYTEST) --all tests/test_examples.py

notebooks: $(READY)
	$(PYTEST) --all tests/test_examples.py -k notebook

test-fast: $(READY)
	$(PYTEST) -m "not slow"

# one process: what runs at once shares the card's memory
test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

# the estimators on the oldest scikit-learn that is supported, laid over the environment
test-oldest: $(OLDEST)/.ready
	PYTHONPATH=$(OLDEST) $(PYTEST) tests/test_compliance.py tests/test_metadata.py \
	    tests/data/test_columns.py tests/data/test_kinds.py tests/data/test_kinds_of_input.py

$(OLDEST)/.ready: $(READY) constraints-oldest.txt
	$(BIN)/pip install --quiet --upgrade --target $(OLDEST) --requirement constraints-oldest.txt
	touch $@

# AutoGluon, FLAML and TabArena, in an environment of its own: they want an older pandas
test-automl: $(AUTOML)/.ready
	OMP_NUM_THREADS=1 $(AUTOML)/bin/python -m pytest tests/automl

$(AUTOML)/.ready: pyproject.toml constraints-automl.txt
	$(PYTHON) -m venv $(AUTOML)
	$(AUTOML)/bin/pip install --quiet --constraint constraints-automl.txt torch
	$(AUTOML)/bin/pip install --quiet --constraint constraints-automl.txt --editable . \
	    pytest pytest-timeout "autogluon.tabular[lightgbm]" flaml xgboost-cpu tabarena
	touch $@

# every Python that is here, with the oldest and the newest of every dependency
test-versions:
	$(PYTHON) scripts/try_versions.py

# each extra alone does what it promises
test-extras:
	$(PYTHON) scripts/try_extras.py

# builds both distributions, installs the wheel without this repository and runs the demo from there
release-check: $(READY)
	$(BIN)/pip install --quiet build twine
	$(BIN)/python scripts/release_check.py

# statsforecast, in an environment of its own: it wants an older pandas.
# make benchmark-forecast ARGS="--data FOLDER --out FOLDER"
benchmark-forecast: $(BENCHMARKS)/.ready
	OMP_NUM_THREADS=1 $(BENCHMARKS)/bin/python benchmarks/forecast.py $(ARGS)

$(BENCHMARKS)/.ready: pyproject.toml constraints-benchmarks.txt
	$(PYTHON) -m venv $(BENCHMARKS)
	$(BENCHMARKS)/bin/pip install --quiet --constraint constraints-benchmarks.txt torch
	$(BENCHMARKS)/bin/pip install --quiet --constraint constraints-benchmarks.txt \
	    --editable ".[benchmarks]"
	touch $@

# TabICL, AutoGluon's Mitra and mitra-finetune, in an environment of their own: they bring AutoGluon,
# Ray and an older pandas. make benchmark-rivals ARGS="--data FOLDER --out FOLDER"
benchmark-rivals: $(RIVALS)/.ready
	OMP_NUM_THREADS=1 $(RIVALS)/bin/python benchmarks/rivals.py $(ARGS)

$(RIVALS)/.ready: pyproject.toml constraints-rivals.txt
	$(PYTHON) -m venv $(RIVALS)
	$(RIVALS)/bin/pip install --quiet --constraint constraints-rivals.txt torch
	$(RIVALS)/bin/pip install --quiet --constraint constraints-rivals.txt --editable . \
	    tabulate "tabicl[finetune]" "autogluon.tabular[mitra]" tabarena mitra-finetune
	touch $@

# Dask and Ray, in an environment of its own: each brings a cluster's worth of packages
test-cluster: $(CLUSTER)/.ready
	OMP_NUM_THREADS=1 $(CLUSTER)/bin/python -m pytest tests/cluster

$(CLUSTER)/.ready: pyproject.toml constraints.txt constraints-cluster.txt
	$(PYTHON) -m venv $(CLUSTER)
	$(CLUSTER)/bin/pip install --quiet --constraint constraints.txt torch
	$(CLUSTER)/bin/pip install --quiet --constraint constraints.txt \
	    --constraint constraints-cluster.txt --editable . \
	    pytest pytest-timeout distributed ray
	touch $@

# the site, in docs/_build/html: every output on it is made here, by one thread; what has been run is
# kept until the package or a page's cells change. Warnings are errors, internal links are checked.
# GALLERY=0 leaves the scripts and notebooks of examples/ unrun.
GALLERY ?= 1
SPHINX = GALLERY=$(GALLERY) OMP_NUM_THREADS=1 \
    $(DOCS)/bin/python -m sphinx --fail-on-warning --keep-going

docs: $(DOCS)/.ready
	$(SPHINX) -b html docs docs/_build/html

# every link to another site is asked, so this needs the internet
docs-links: $(DOCS)/.ready
	$(SPHINX) -b linkcheck docs docs/_build/links

$(DOCS)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install --quiet --constraint constraints.txt torch
	$(DOCS)/bin/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	$(DOCS)/bin/python -m bash_kernel.install --sys-prefix
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch first and pinned: an unpinned torch may bring gigabytes of CUDA libraries.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache \
	    docs/_build docs/api docs/auto_examples docs/notebooks docs/sg_execution_times.rst
