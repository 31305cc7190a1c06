# Everything a developer types. Set-up runs by itself and again only when a lock file changes.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

BIN := .venv/bin
PYTHON_READY := .venv/.ready
NODE_READY := node_modules/.ready
ADAPTERS_READY := .venv/.adapters
SETUP := $(PYTHON_READY) $(NODE_READY) $(ADAPTERS_READY)

DEMO ?=
ARGS ?=
RATE ?= 300
DURATION ?= 60
SCENARIO ?=
FOR ?= 600
PYTHON ?=

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: $(SETUP) ## install the locked Python and npm packages into .venv and node_modules
	@:

.PHONY: run
run: $(SETUP) ## start the local stack and the demonstration (DEMO=exit: only that, DEMO=no: without)
	@exec $(BIN)/hermes up $(if $(DEMO),--demo=$(DEMO)) $(ARGS)

.PHONY: test
# Without what Python keeps of its sources, each of hundreds of processes would compile them again.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(SETUP) ## run the whole test suite (ARGS=… goes to pytest)
	@exec $(BIN)/python -m pytest -n auto $(ARGS)

.PHONY: bench
bench: $(SETUP) ## load through the API to the receipt (RATE=300 a second, DURATION=60 seconds)
	@exec $(BIN)/hermes bench --rate $(RATE) --duration $(DURATION) --document docs/performance.md $(ARGS)

.PHONY: scenario
scenario: $(SETUP) ## a fault with bars to hold (SCENARIO=link-kill; without one: list them)
	@exec $(BIN)/hermes bench $(if $(SCENARIO),--scenario $(SCENARIO),--list) $(ARGS)

.PHONY: contract
contract: $(SETUP) ## ask the APIs whatever their OpenAPI documents allow (FOR=600 seconds for each of three)
	@CONTRACT_SECONDS=$(FOR) $(BIN)/python -m pytest tests/contract -q -s -o timeout=3600

.PHONY: comparison
comparison: $(SETUP) ## the same cascade on Restate and on Temporal, which it installs first
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --require-hashes \
		--requirement requirements-comparison.lock
	@exec $(BIN)/hermes bench --scenario temporal $(ARGS)

.PHONY: docs
docs: $(SETUP) ## write the documents anew that are made from the code (docs/codes.md, docs/tenant-settings.md)
	@$(BIN)/python -m infra.documents

.PHONY: fuzz
fuzz: $(SETUP) ## fuzz the SMPP session (FOR=600 seconds; ARGS=DIRECTORY keeps what it learns there)
	@exec $(BIN)/python -m tests.fuzz.fuzz_session -max_total_time=$(FOR) -max_len=600 $(ARGS)

.PHONY: lint
lint: $(PYTHON_READY) ## ruff's rules and layout, and the direction of imports
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/lint-imports --no-logo

.PHONY: types
types: $(PYTHON_READY) ## mypy
	@$(BIN)/mypy

.PHONY: format
format: $(PYTHON_READY) ## let ruff rewrite the layout and what it can mend
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

# The lock files name no index: whichever one your own configuration names is used.
LOCK_TOOL := .venv/lock-tool/bin/uv
COMPILE = $(LOCK_TOOL) pip compile pyproject.toml --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --quiet $(ARGS)

.PHONY: lock
lock: $(LOCK_TOOL) ## write the lock files anew (ARGS=--upgrade for newer versions)
	$(COMPILE) --annotation-style line --extra dev --output-file requirements-dev.lock
	$(COMPILE) --no-annotate --constraint requirements-dev.lock --output-file requirements.lock
	$(COMPILE) --no-annotate --constraint requirements-dev.lock --extra comparison \
		--output-file requirements-comparison.lock
	npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund
	@! grep -nE 'https?://|"resolved"' requirements*.lock \
		|| { echo 'a lock file names a host'; exit 1; }
	@! grep -n '"resolved"' package-lock.json || { echo 'package-lock.json names a host'; exit 1; }

$(LOCK_TOOL): | $(PYTHON_READY)
	@$(BIN)/python -m venv .venv/lock-tool && .venv/lock-tool/bin/pip install --quiet uv

.PHONY: clean
clean: ## remove what set-up and the tools made; .hermes (your messages) stays
	rm -rf .venv node_modules build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache \
		.import_linter_cache .hypothesis
	find domain adapters virtual_objects handlers infra tests -name __pycache__ -prune -exec rm -rf {} +

# --- set-up -----------------------------------------------------------------------------------

# The first of these that is new enough; PYTHON=/path/to/python overrides.
PYTHONS := $(if $(PYTHON),$(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python)

.venv/.locked: requirements-dev.lock
	@for candidate in $(PYTHONS); do \
		if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
			2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'Hermes needs Python 3.11 or newer with its venv module, and found none of:' \
			'$(PYTHONS).' >&2; \
		echo 'Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install' \
			'python) or name it: make PYTHON=/path/to/python …' >&2; \
		exit 1; \
	fi; \
	echo "Python packages, for $$("$$python" --version) in .venv"; \
	"$$python" -m venv --clear .venv
	@set -o pipefail; [ -t 1 ] && live=1; \
	$(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off \
		--require-hashes --requirement $< 2>&1 | tee .venv/setup.log \
		| awk -v all="$$(grep -c == $<)" -v live="$$live" ' \
		function say(text) { printf(live ? "\r  %-70s" : "  %s\n", text); fflush() } \
		/^(Collecting|Processing) / { n++; if (live || n % 30 == 0) say("fetched " n " of " all) } \
		/^Installing collected/ { say("installing " n) } \
		END { if (live) printf("\r%72s\r", "") }' \
		|| { tail -n 20 .venv/setup.log >&2; echo 'The whole log: .venv/setup.log' >&2; exit 1; }
	@touch $@

$(PYTHON_READY): .venv/.locked pyproject.toml
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input --quiet --no-index \
		--no-deps --no-build-isolation --editable .
	@touch $@

# Hermes's own adapters, from JavaScript to WebAssembly.
ADAPTERS := $(dir $(wildcard adapters/wasm/providers/*/manifest.json))
ADAPTER_SOURCES := $(wildcard adapters/wasm/providers/*/*.js* \
	adapters/wasm/sdk/*.js adapters/wasm/sdk/build.py adapters/wasm/wit/*.wit)

$(ADAPTERS_READY): $(ADAPTER_SOURCES) | $(PYTHON_READY) $(NODE_READY)
	@echo "adapters: $(notdir $(ADAPTERS:/=))"
	@$(BIN)/python -m adapters.wasm.sdk.build $(ADAPTERS)
	@touch $@

# The binaries lie in the packages themselves, so no install script has to run.
$(NODE_READY): package-lock.json
	@command -v npm >/dev/null && command -v node >/dev/null || { \
		echo 'Hermes needs Node.js 18 or newer with npm, which bring restate-server and its tools.' >&2; \
		echo 'Install them (Debian, Ubuntu: apt install nodejs npm; macOS: brew install node).' >&2; \
		exit 1; }
	@node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' || { \
		echo "Hermes needs Node.js 18 or newer; this is $$(node --version)." >&2; exit 1; }
	@echo "npm packages (restate-server and its tools, about 110 MB) in node_modules"
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
