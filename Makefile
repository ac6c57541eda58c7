# make setup | demo | test | test-vllm | test-export | lint | clean. A GPU machine gets CUDA builds from the same pins.
PYTHON ?= python3
VENV := .venv

.PHONY: setup demo test setup-vllm test-vllm test-export lint clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "medssr needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	touch $@

demo: setup
	$(VENV)/bin/medssr-pipeline

# One thread a worker: two processes on two cores, none waiting for the other's threads.
test: setup
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal

# The tests of medssr-export with verl, TRL and lm-eval themselves, in a folder of their own: 420 MB.
test-export: setup $(VENV)-export/.ready
	OMP_NUM_THREADS=1 PYTHONPATH=$(VENV)-export $(VENV)/bin/python -m pytest tests/exporting tests/grpo/test_trl.py

$(VENV)-export/.ready: tests/exporting/requirements.txt $(VENV)/.ready
	$(VENV)/bin/pip install --quiet --no-deps --upgrade --target $(VENV)-export --requirement $<
	touch $@

# The tests with vLLM itself, built for a CPU, in a folder of its own: 1.2 GB.
test-vllm: setup-vllm
	OMP_NUM_THREADS=1 PYTHONPATH=$(CURDIR)/$(VENV)-vllm $(VENV)/bin/python -m pytest -m vllm -n 2 --dist loadfile tests/engines

setup-vllm: $(VENV)-vllm/.ready

$(VENV)-vllm/.ready: tests/engines/requirements.txt $(VENV)/.ready
	$(VENV)/bin/pip install --quiet --no-deps --upgrade --target $(VENV)-vllm --requirement $<
	touch $@

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(VENV)-export $(VENV)-vllm artifacts logs report
