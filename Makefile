# Everything happens in .venv, from lock files with hashes; .stamps remembers what was installed.

PYTHON ?= python3
UV ?= uv
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
NPM := $(PY) web/npm.py
PIP := $(PY) -m pip --quiet --disable-pip-version-check
COMPILE := $(UV) --quiet pip compile pyproject.toml --universal --generate-hashes --no-header --no-emit-index-url

.PHONY: help run test lint types fmt openapi dashboard web e2e screenshots bench bench-smoke homeharvest lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .stamps/run ## Run the main job on a generated sample, show what changed, and serve it (ARGS=--no-serve ends)
	@$(MAKE) --no-print-directory dashboard || echo "The dashboard could not be built; all else works without it."
	$(VENV)/bin/mls-crm-sync demo $(ARGS)

test: .stamps/dev ## Run the tests, on every PostgreSQL there is (ARGS="-k word" picks some)
	$(PY) -m pytest -n logical --dist worksteal $(ARGS)

lint: .stamps/dev ## Check style, format and the import rule
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports

types: .stamps/dev ## Check the types
	$(PY) -m mypy

fmt: .stamps/dev ## Format, and mend what can be mended without thinking
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

openapi: .stamps/dev .stamps/web ## Write docs/openapi.json anew, and the dashboard's client from it
	$(PY) -m mls_crm_sync.api > docs/openapi.json
	$(NPM) run --silent gen

dashboard: .stamps/dashboard ## Build the dashboard into the package

web: .stamps/dashboard ## Check the dashboard: style, types, its client against docs/openapi.json, its own tests
	$(NPM) run --silent lint
	$(NPM) run --silent types
	$(NPM) run --silent gen-check
	$(NPM) run --silent test
	$(NPM) run --silent budget

e2e: .stamps/dev .stamps/dashboard ## Use the dashboard in a real browser, over a real service (ARGS="-g word" picks some)
	$(NPM) run --silent e2e -- $(ARGS)

screenshots: .stamps/dev .stamps/dashboard ## Take the pictures of docs/screens anew
	$(NPM) run --silent screens

bench: .stamps/dev ## Measure
	$(PY) bench/run.py $(ARGS)
	$(PY) bench/latency.py
	$(PY) bench/scheduler.py
	$(PY) bench/workers.py
	$(PY) bench/website.py --pandas

bench-smoke: .stamps/dev ## Measure a little: does the benchmark still run?
	$(PY) bench/run.py --smoke $(ARGS)
	$(PY) bench/latency.py --smoke
	$(PY) bench/scheduler.py --smoke
	$(PY) bench/workers.py --smoke
	$(PY) bench/website.py --smoke
	$(PY) bench/flat_memory.py --smoke
	$(PY) bench/load.py --smoke

homeharvest: .stamps/run ## Add HomeHarvest, for the source of that name
	$(PIP) install --require-hashes --requirement requirements-homeharvest.lock

WEB := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/e2e/*' 2>/dev/null)

.stamps/web: web/package.json web/package-lock.json requirements-node.lock $(VENV)/pyvenv.cfg
	@$(NPM) --is-there || $(PIP) install --require-hashes --requirement requirements-node.lock
	$(NPM) ci --silent --no-audit --no-fund
	@mkdir -p .stamps && touch $@

.stamps/dashboard: .stamps/web $(WEB)
	$(NPM) run --silent build -- --logLevel warn
	@mkdir -p .stamps && touch $@

lock: ## Write the lock files anew, by uv (ARGS=--upgrade takes newer releases)
	$(COMPILE) $(ARGS) --group build --output-file requirements.lock
	$(subst pyproject.toml,--group node,$(COMPILE)) $(ARGS) --output-file requirements-node.lock
	$(COMPILE) $(ARGS) --constraints requirements.lock --extra homeharvest --output-file requirements-homeharvest.lock
	$(COMPILE) $(ARGS) --constraints requirements.lock --constraints requirements-homeharvest.lock --group dev --output-file requirements-dev.lock

clean: ## Remove what make made
	rm -rf web/node_modules src/mls_crm_sync/ui
	rm -rf $(VENV) .venv-peers .stamps dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# The build backend is in both lock files, so the product is installed without asking anybody for anything.
.stamps/run: requirements.lock pyproject.toml $(VENV)/pyvenv.cfg
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@mkdir -p .stamps && touch $@

.stamps/dev: requirements-dev.lock pyproject.toml $(VENV)/pyvenv.cfg
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@mkdir -p .stamps && touch $@
