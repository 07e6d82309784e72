# make demo   compress the shipped model, from audio to a table        make ui     look at the runs in MLflow
# make test   run the tests                                            make lint   ruff, mypy and import-linter
# make comet  an environment for the metric COMET
# make setup  install only                                             make test-all   test and test-long
#
# make test-long runs the tests that take long: it kills workers over and over, and starts a SLURM of its own on this
# machine; Debian's packages munge, slurmctld, slurmd and slurm-client have it.
# TORCH=…     the torch to install where there is none: a version (2.13.0) or anything pip takes.
PYTHON ?= python3
TORCH ?= 2.13.0
TORCH_PACKAGE = $(if $(findstring /,$(TORCH)),$(TORCH),$(if $(filter torch%,$(TORCH)),$(TORCH),torch==$(TORCH)))
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup comet demo test test-long test-all lint ui

setup: $(VENV)/.ready

# A torch that can be imported where make is called from is taken as it is, so that a machine keeps its CUDA build.
$(VENV)/.ready: requirements.txt pyproject.toml
	@if [ ! -x $(BIN)/python ]; then \
	  if [ "$(origin TORCH)" = file ] && $(PYTHON) -c 'import torch' 2>/dev/null; \
	  then $(PYTHON) -m venv --system-site-packages $(VENV); else $(PYTHON) -m venv $(VENV); fi; fi
	@echo "installing torch and what stc needs into $(VENV) (a few minutes)"
	@$(BIN)/python -c 'import torch' 2>/dev/null || \
	  $(BIN)/pip install -q --disable-pip-version-check "$(TORCH_PACKAGE)"
	@$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

# COMET needs older versions of transformers and numpy. torchmetrics, which it uses, needs pkg_resources.
comet: .venv-comet/.ready

.venv-comet/.ready:
	@echo "installing COMET into .venv-comet (a few minutes)"
	@$(PYTHON) -m venv .venv-comet
	@.venv-comet/bin/pip install -q --disable-pip-version-check "$(TORCH_PACKAGE)" unbabel-comet==2.2.7 "setuptools<81"
	@touch $@

demo: setup
	$(BIN)/python -m stc.run experiments=demo lang=zh
	@echo
	@echo "Next:"
	@echo "  make ui                                                                        the runs in MLflow"
	@echo "  $(BIN)/python -m stc.run experiments=demo lang=zh prune.ratio=0.5              half of the layers"
	@echo "  $(BIN)/python -m stc.run -m experiments=demo lang=de,zh prune.ratio=0.25,0.5   a sweep"

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-long: setup comet
	$(BIN)/python -m pytest -m comet tests/metrics
	$(BIN)/python -m pytest -m crash tests/test_crash.py
	$(BIN)/python -m pytest -m slurm tests/cluster

test-all: test
	$(MAKE) test-long

lint: setup
	$(BIN)/ruff check stc talks tests benchmarks examples
	$(BIN)/ruff format --check stc talks tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

ui: setup
	$(BIN)/python -m stc.tracking
