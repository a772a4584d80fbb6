# `make` alone says what there is. Everything runs in .venv, which is made when it is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# Each of the many programs that the tests start would compile all of paygo again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help screenshots demo serve test test-fast test-faults lint fmt types bench docs constraints audit image site clean

help: ## Say what there is to make
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo
	@echo '  ARGS passes words on:  make demo ARGS="--events 1000000 --no-serve"'

demo: $(VENV)/.runtime ## Show everything: real trusts, a month of usage, its invoices, the portal
	@$(BIN)/paygo demo $(ARGS)

serve: $(VENV)/.runtime ## Run paygo with an empty database and the scheduled jobs
	@$(BIN)/paygo serve --with-scheduler $(ARGS)

test: lint ## Check the style, the types, the import rules, and run the tests
	$(BIN)/pytest -n 2 --dist worksteal -m "not faults" $(ARGS)

test-fast: $(VENV)/.dev ## Run the tests that need neither a browser nor much time
	$(BIN)/pytest -n 2 --dist worksteal -m "not faults and not browser and not slow" $(ARGS)

test-faults: $(VENV)/.dev ## Kill, cut, fill and slow down on purpose; print what it cost
	$(BIN)/pytest -n 2 --dist loadfile -m faults $(ARGS)

lint: $(VENV)/.dev ## Check the style, the types and the import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.dev ## Put the code into the one style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## Run the benchmarks; docs say what they measured
	@for program in ingest pages rating simulation; do $(BIN)/python -m benchmarks.$$program $(ARGS) || exit 1; done

docs: $(VENV)/.dev ## Write the pages that the code knows: settings, problems, premises
	PYTHONPATH=. $(BIN)/python scripts/write_docs.py

site: $(VENV)/.docs ## Build the documentation as a site with search, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html, or: $(BIN)/mkdocs serve"

screenshots: $(VENV)/.dev ## Take the README's pictures from the demonstration that runs
	PYTHONPATH=. $(BIN)/python scripts/write_screenshots.py

constraints: $(VENV)/.dev ## Pin what is installed here; do it after a green `make test`
	$(BIN)/python scripts/write_constraints.py

audit: $(VENV)/.dev ## Look for known faults in what we depend on
	@$(BIN)/python scripts/audit.py

image: ## Build the container image
	docker build --tag paygo .

clean: ## Remove the virtual environment and everything that was made
	rm -rf $(VENV) demo-output site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "paygo needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3 demo"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "Python cannot make virtual environments here; on Debian: apt-get install python3-venv"; exit 1; }

# The demonstration needs only what paygo runs on, so that it starts quickly.
$(VENV)/.runtime: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what paygo runs on ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what paygo runs on and is tested with ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	@touch $(VENV)/.runtime $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	@echo "Installing what builds the site ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $(VENV)/.runtime $@
