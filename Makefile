# `make help` lists the targets. Everything below needs only make, Python 3.11 or 3.12, and Java 17 or 21.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
SNOWFLAKE_VENV := .venv-snowflake
SNOWFLAKE_IN := lab_insights/local/snowflake/requirements.in
CHECKOV_VENV := .venv-checkov
CHECKOV_IN := deploy/checkov.in
export NO_MKDOCS_2_WARNING := 1
# The demo and the tests start dozens of processes, and each would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --custom-compile-command "make lock"

# pyenv's shims are there for versions that are not: each candidate is run, not looked for.
SUPPORTED := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for python in python3.12 python3.11 python3 python; do \
	"$$python" -c "$(SUPPORTED)" >/dev/null 2>&1 && echo "$$python" && break; done)

.PHONY: help setup demo dev test test-fast test-layer test-live soak lint format docs lock clean java browser

help: ## Show this
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name what; do \
		printf '  make %-10s %s\n' "$$name" "$$what"; done

ENVIRONMENTS := java $(VENV)/.ready $(SNOWFLAKE_VENV)/.ready

setup: $(ENVIRONMENTS) $(VENV)/.dev browser ## Make both virtual environments from the locks, and get a browser for the tests; quick when they are there

demo: $(ENVIRONMENTS) ## Load three tenants and seven days through every layer, on a stack of local servers
	@$(BIN)/lab-insights local demo

dev: setup ## Run `dagster dev` over the local stack with this checkout's code; Reload definitions in its UI takes up a change
	@$(BIN)/lab-insights local up
	@home="$$(cd "$${LAB_INSIGHTS_LOCAL_DIR:-.lab_insights}/dagster_home" && pwd)"; \
		DAGSTER_HOME="$$home" LAB_INSIGHTS_CONFIG="$$home/lab_insights.yaml" exec $(BIN)/dagster dev

test: lint ## Run every check and every test but the soak's and the live ones
	@$(BIN)/pytest -q -n 2 --dist loadgroup --no-loadscope-reorder

test-fast: setup ## Run the tests that take less than ten seconds, until the first failure
	@$(BIN)/pytest -q -x -m "not slow and not soak and not live"

test-layer: setup ## LAYER=lake (lab, extract, warehouse ...): of its tests as many as are done in 20 seconds, by what they took before
	@$(BIN)/pytest -q -n 2 --dist loadgroup --no-loadscope-reorder --within 20 lab_insights_tests/$(LAYER)

test-live: setup ## Run the demo's loads on the AWS and Snowflake account that the environment names: docs/how-to/live.md
	@$(BIN)/pytest -q -x -m live lab_insights_tests/live

soak: setup ## Run the tests that take minutes; N=1000: so many random histories, in place of 100
	@$(BIN)/pytest -q -m soak

lint: setup $(CHECKOV_VENV)/.ready ## Run ruff, mypy, import-linter, deptry, cfn-lint, checkov and the build of the documentation
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --quiet --check . || { echo "Remedy: make format"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >build/lint-imports.log || { cat build/lint-imports.log; exit 1; }
	@$(BIN)/python -c "$$REQUIREMENTS"
	@$(BIN)/deptry lab_insights --requirements-files build/requirements.txt \
		--requirements-files-dev build/requirements-dev.txt 2>build/deptry.log || { cat build/deptry.log; exit 1; }
	@$(BIN)/deptry lab_insights_tests --ignore DEP002,DEP003 --requirements-files build/requirements.txt,build/requirements-dev.txt \
		2>build/deptry.log || { cat build/deptry.log; exit 1; }
	@$(BIN)/pre-commit validate-config
	@$(BIN)/cfn-lint deploy/template.yaml
	@$(CHECKOV_VENV)/bin/checkov --file deploy/template.yaml --framework cloudformation --compact --quiet --skip-download \
		>build/checkov.log 2>&1 || { cat build/checkov.log; exit 1; }
	@$(BIN)/mkdocs build --strict --quiet --site-dir build/site

define REQUIREMENTS
from importlib.metadata import requires
from pathlib import Path
every = [requirement.partition(";") for requirement in requires("lab-insights") or []]
for name, extra in (("requirements", False), ("requirements-dev", True)):
    lines = [what.strip() for what, _, condition in every if ("extra ==" in condition) is extra]
    Path("build", name + ".txt").write_text("\n".join(lines) + "\n")
endef
export REQUIREMENTS

format: setup ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

docs: setup ## Serve the documentation on http://127.0.0.1:8000
	@$(BIN)/mkdocs serve --quiet --dev-addr 127.0.0.1:8000

lock: setup ## Compile every lock again, within the bounds of setup.py
	@$(COMPILE) --upgrade setup.py --extra local --extra dev --extra scan --output-file requirements-dev.lock
	@$(COMPILE) --upgrade setup.py --extra local --constraint requirements-dev.lock --output-file requirements.lock
	@$(COMPILE) --upgrade $(SNOWFLAKE_IN) --output-file requirements-snowflake.lock
	@$(COMPILE) --upgrade $(CHECKOV_IN) --output-file requirements-checkov.lock

clean: ## Remove the environments, caches and builds; the local stack's state stays
	@rm -rf $(VENV) $(SNOWFLAKE_VENV) $(CHECKOV_VENV) build site *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find lab_insights lab_insights_tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.ready: requirements.lock setup.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 with venv is needed. Remedy: install one (Debian: apt install python3 python3-venv)," \
		"or say make PYTHON=/path/to/python."; exit 1; }
	@echo "Installing $(VENV) from requirements.lock ..."
	@$(BIN)/python -c "$(SUPPORTED)" 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -oE '^uv==[^ ]+' requirements-dev.lock)"
	@$(UV) pip sync --quiet --python $(BIN)/python requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@mkdir -p build && touch $@

# A demo needs none of it: a quarter of the disk that both take.
$(VENV)/.dev: requirements-dev.lock $(VENV)/.ready
	@echo "Installing what development needs from requirements-dev.lock ..."
	@$(UV) pip install --quiet --python $(BIN)/python --requirement requirements-dev.lock
	@touch $@

$(SNOWFLAKE_VENV)/.ready: requirements-snowflake.lock | $(VENV)/.ready
	@echo "Installing $(SNOWFLAKE_VENV) from requirements-snowflake.lock ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(SNOWFLAKE_VENV)
	@$(UV) pip sync --quiet --python $(SNOWFLAKE_VENV)/bin/python requirements-snowflake.lock
	@touch $@

# Its pins and the product's can not be met together; only the lint needs it.
$(CHECKOV_VENV)/.ready: requirements-checkov.lock | $(VENV)/.ready
	@echo "Installing $(CHECKOV_VENV) from requirements-checkov.lock ..."
	@$(UV) venv --quiet --clear --python $(BIN)/python $(CHECKOV_VENV)
	@$(UV) pip sync --quiet --python $(CHECKOV_VENV)/bin/python requirements-checkov.lock
	@touch $@

java:
	@java="$${JAVA_HOME:+$$JAVA_HOME/bin/}java"; found=$$("$$java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p' | head -n 1 || true); \
	case "$$found" in 17|21) ;; *) echo "Spark needs Java 17 or 21; found: $${found:-none}." \
		"Remedy: install it (Debian: apt install openjdk-17-jre-headless), or point JAVA_HOME at it."; exit 1;; esac

# Once for an environment: a machine without a browser is told so, and is not asked again each time.
browser: $(VENV)/.browser
$(VENV)/.browser: | $(VENV)/.ready
	@if ! command -v chromium >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && grep -q '^ID=debian' /etc/os-release 2>/dev/null && echo "Installing Debian's chromium ..." && apt-get update -qq \
			&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1; then :; \
		else echo "There is no chromium here: browser tests will be left out (Debian: apt install chromium)."; fi; fi
	@touch $@
