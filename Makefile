# `make train` and `make test` do all set-up on a fresh machine.
PYTHON3 ?= python3
VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check

.PHONY: train test test-all lint docs demo

train: $(VENV)/run.stamp  ## B0 with ECA on handwritten digits, from installation to export
	$(PYTHON) -m ecanet_jax prepare --dataset=digits --data_dir=data
	$(PYTHON) train.py --config=configs/digits.py --workdir=runs/digits

test: $(VENV)/dev.stamp
	$(PYTHON) -m pytest

test-all: $(VENV)/dev.stamp $(VENV)/aot-gpu.stamp
	$(PYTHON) -m pytest -m ''

lint: $(VENV)/dev.stamp
	$(VENV)/bin/ruff check .

# Not with --quiet, which hides the warnings from --strict.
docs: $(VENV)/docs.stamp  ## the site in site/, with warnings as errors
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict

demo: $(VENV)/dev.stamp  ## what published weights see on photographs that packages ship, and where
	$(PYTHON) -m scripts.demo docs/images

$(PYTHON):
	$(PYTHON3) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt | $(PYTHON)
	$(PIP) -r requirements.txt
	touch $@

$(VENV)/dev.stamp: requirements.txt requirements-dev.txt | $(PYTHON)
	$(PIP) -r requirements-dev.txt
	touch $@ $(VENV)/run.stamp

$(VENV)/docs.stamp: requirements-docs.txt | $(PYTHON)
	$(PIP) -r requirements-docs.txt
	touch $@

$(VENV)/aot-gpu.stamp: requirements-aot-gpu.txt | $(PYTHON)
	$(PIP) --upgrade --target $(VENV)/aot-gpu --no-deps -r requirements-aot-gpu.txt
	touch $@
