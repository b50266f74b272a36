# `make demo` and `make test` set everything up themselves in a fresh clone.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
READY   = $(VENV)/.ready

OLDEST = $(VENV)/oldest
AUTOML = $(VENV)/automl
CLUSTER = $(VENV)/cluster
WORKERS ?= 2
# a process per core with one thread each: the networks of the tests are small
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test test-all test-fast test-gpu test-oldest test-automl test-cluster lint clean

demo: $(READY)
	$(BIN)/finetune-tabpfn demo --out demo-output

test: lint
	$(PYTEST)

# nothing shortened: twenty kills instead of eight, the examples as they stand
test-all: lint
	$(PYTEST) --all

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
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache
