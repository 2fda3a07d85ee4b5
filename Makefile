# Each target sets up what it needs. On a fresh Debian: `apt-get install make`, then as root any of these.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
STAMP := $(VENV)/.complete
PY := $(VENV)/bin/python
PYTHON ?= python3
# The plugin makes a skip a failure where CI is set.
PYTEST := $(PY) -m pytest -p tests.no_skips
SOURCES := entrypoint healthcheck tests bench

# What needs root tests real namespaces, servers and engines.
PRIVILEGED := tests/kernel tests/tunnel tests/container

# The targets of `test` build upon each other.
.NOTPARALLEL:

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: demo
demo: root packages $(STAMP) ## the main job in a lab of its own, under a minute (root)
	@$(PY) -m tests.demo run

.PHONY: demo-up
demo-up: root packages $(STAMP) ## the same lab, left standing to play with (root)
	@$(PY) -m tests.demo up

.PHONY: demo-down
demo-down: root packages $(STAMP) ## takes it away (root)
	@$(PY) -m tests.demo down

.PHONY: check
check: $(STAMP) ## format, lint, types, import contracts, unit tests: no root, seconds
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PYTEST) tests/unit

# What failed is tried once more by itself, and both are told: milliseconds are measured on a machine that may
# be busy for a second, and a fault fails twice.
.PHONY: test
test: root packages check ## all tests: check, then kernel, tunnel and container (root)
	$(PYTEST) --durations=10 $(PRIVILEGED) || $(PYTEST) --last-failed --last-failed-no-failures none $(PRIVILEGED)

.PHONY: chaos
chaos: root packages $(STAMP) ## breaks all around it at random: SECONDS=3600 SEED=7 (root)
	@$(PY) -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

.PHONY: bench
bench: root packages $(STAMP) ## Sidegate beside each bare client: time, loss, memory, CPU, throughput (root)
	@$(PY) -m bench

.PHONY: lock
lock: $(STAMP) ## regenerates both requirements.txt with the newest versions
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip compile $(LOCK) --output-file requirements.txt pyproject.toml
	$(VENV)/bin/uv pip compile $(LOCK) --extra dev --constraint requirements.txt \
		--output-file tests/requirements.txt pyproject.toml

# Hashes for every platform, and no word of where this machine's packages come from.
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	--no-emit-index-url --no-emit-find-links --no-config

.PHONY: readme
readme: $(STAMP) ## writes the table of settings into README.md
	@$(PY) -m tests.readme

.PHONY: clean
clean: ## removes what these targets made, the cache of images included
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
	if test "$$(id -u)" -eq 0; then rm -rf /var/cache/sidegate-tests; fi

.PHONY: root
root:
	@if test "$$(id -u)" -ne 0; then \
		echo "make: this makes network namespaces: run it as root (sudo make $(MAKECMDGOALS))" >&2; exit 1; fi

.PHONY: packages
packages:
	@tests/setup

# setuptools is in the list: the project itself is installed without a download.
$(STAMP): pyproject.toml tests/requirements.txt
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tests/setup python
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: needs Python 3.11 or newer: set PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --requirement tests/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
