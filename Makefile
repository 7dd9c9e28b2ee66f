# RouteKit Site. Two commands matter: `make run` and `make test`. `make help` lists the rest.

PYTHON ?= python3
JOBS ?= 2
COUNT ?= 2000
SEED ?= 1
VENV := .venv
BIN := $(VENV)/bin
MANAGE := $(BIN)/python manage.py
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet --no-input
# Commands that look at the code alone need settings, but no installation's: the tests' make their own.
CHECKED := DJANGO_SETTINGS_MODULE=tests.settings

.DEFAULT_GOAL := help
.PHONY: help run test check coverage audit format migrations constraints bench bench-redaction bench-sandbox bench-traces test-mutation test-races test-fuzz clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "RouteKit Site needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing what the site needs"
	@$(PIP) install -e . -c constraints.txt
	@touch $@

$(VENV)/.development: $(VENV)/.run
	@echo "Installing what the tests need"
	@$(PIP) install -e '.[dev]' -c constraints.txt
	@touch $@

run: export ROUTEKIT_DEMO := 1
run: $(VENV)/.run ## Install, load the demo and serve everything in one process on 127.0.0.1:8000
	@$(MANAGE) migrate --verbosity 0
	@$(MANAGE) load_demo --week
	@exec $(MANAGE) serve

test: $(VENV)/.development ## Run every test, on real services and in a real browser too
	$(BIN)/pytest -n $(JOBS) --dist loadgroup -m "not slow"

check: $(VENV)/.development ## Format, lint, types, layers, diagrams, migrations and the fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/djade --check --target-version 5.2 $$(git ls-files '*.html')
	$(BIN)/mypy .
	$(BIN)/lint-imports --config importlinter.ini
	$(BIN)/deptry .
	$(BIN)/django-upgrade --check --target-version 5.2 $$(git ls-files '*.py')
	$(CHECKED) $(MANAGE) state_diagrams --check
	$(CHECKED) $(MANAGE) house_rooms --check
	$(CHECKED) $(MANAGE) makemigrations --check --dry-run
	$(BIN)/pytest -n $(JOBS) --dist loadgroup -q -m "not slow and not services and not browser and not processes"

format: $(VENV)/.development ## Format Python and templates, mend what ruff can mend, write what is generated
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/djade --target-version 5.2 $$(git ls-files '*.html')
	$(BIN)/django-upgrade --exit-zero-even-if-changed --target-version 5.2 $$(git ls-files '*.py')
	$(CHECKED) $(MANAGE) state_diagrams
	$(CHECKED) $(MANAGE) house_rooms

migrations: $(VENV)/.development ## Make migrations for changed models
	$(CHECKED) $(MANAGE) makemigrations

constraints: $(VENV)/.development ## Pin the versions that are installed now
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools > constraints.txt

bench: $(VENV)/.development ## Measure the whole system on PostgreSQL and Redis, beside LangGraph and DBOS if the bench extra is installed
	$(BIN)/python -m bench.durability $(BENCH)

coverage: $(VENV)/.development ## Measure what the tests reach, branches and templates too; fails below 95 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(JOBS) --dist loadgroup -q -m "not slow"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

audit: $(VENV)/.development ## Look the pinned versions up among known vulnerabilities (needs the advisory database's network)
	$(PYTHON) -m venv .audit && .audit/bin/pip --quiet install pip-audit
	.audit/bin/pip-audit --requirement constraints.txt --no-deps

bench-sandbox: $(VENV)/.development ## Measure the tool sandbox, beside a subprocess and bubblewrap
	$(BIN)/python -m bench.sandbox

.PHONY: test-faults soak-faults
test-faults: $(VENV)/.development ## Break real processes in every way of docs/reference/faults.md
	$(BIN)/pytest -q -s tests/faults tests/runs/test_killed_worker.py tests/platform/test_two_releases.py

soak-faults: $(VENV)/.development ## Inject COUNT random faults into a working site (SEED repeats a choice), then check everything
	$(BIN)/python -m tests.faults.soak $(COUNT) $(SEED)

test-mutation: $(VENV)/.development ## Take away each seccomp and Landlock rule and see that it is missed
	$(BIN)/pytest -q -m slow tests/sandbox

test-races: $(VENV)/.development ## Two browsers race for one call, 200 times
	$(BIN)/pytest -q -m slow tests/browser

test-fuzz: $(VENV)/.development ## Thousands of bad requests at every address of the site, and of bad conversations on its socket
	$(BIN)/pytest -q -m slow tests/screens/test_fuzz.py tests/traces/test_socket_fuzz.py tests/browser/test_planted_markup.py

bench-redaction: $(VENV)/.run ## Measure redaction, beside its peers if the bench extra is installed; CORPUS=file.jsonl for F1
	$(BIN)/python -m bench.redaction $(CORPUS)

.PHONY: bench-traces
bench-traces: $(VENV)/.development ## Measure traces at a million events on PostgreSQL, and what writing one costs
	$(BIN)/python -m bench.traces

.PHONY: bench-screens
bench-screens: $(VENV)/.development ## Measure the review queue in Chromium: 1,000 calls, 50 updates a second (PostgreSQL, Redis)
	$(BIN)/python -m bench.screens

clean: ## Remove what the tools made; the demo's data in var/ stays
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-artifacts *.egg-info
