# Everything happens in .venv, from lock files with hashes; .stamps remembers what was installed.

PYTHON ?= python3
UV ?= uv
ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check
COMPILE := $(UV) --quiet pip compile pyproject.toml --universal --generate-hashes --no-header --no-emit-index-url

.PHONY: help run test lint types fmt openapi bench bench-smoke homeharvest lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .stamps/run ## Run the main job on a generated sample, show what changed, and serve it (ARGS=--no-serve ends)
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

openapi: .stamps/dev ## Write docs/openapi.json anew
	$(PY) -m mls_crm_sync.api > docs/openapi.json

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

lock: ## Write the lock files anew, by uv (ARGS=--upgrade takes newer releases)
	$(COMPILE) $(ARGS) --group build --output-file requirements.lock
	$(COMPILE) $(ARGS) --constraints requirements.lock --extra homeharvest --output-file requirements-homeharvest.lock
	$(COMPILE) $(ARGS) --constraints requirements.lock --constraints requirements-homeharvest.lock --group dev --output-file requirements-dev.lock

clean: ## Remove what make made
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
