# `make` alone prints every target. The virtual environment is .venv; the two commands to know are `make run` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
PORT ?= 5000
BIN := .venv/bin
FLASK := $(BIN)/flask --app wsgi
export PORT

.PHONY: help setup setup-test run test test-processors check bench clean lock

help: ## Print every target with a sentence
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r

.venv/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing: install the package python3-venv"; exit 1; }

.venv/.ready: requirements.txt | .venv/pyvenv.cfg
	@echo "Installing what the portal needs ..."
	@$(INSTALL) requirements.txt
	@touch $@

.venv/.ready-test: requirements-dev.txt | .venv/pyvenv.cfg
	@echo "Installing what the tests need ..."
	@$(INSTALL) requirements-dev.txt
	@touch .venv/.ready $@

setup: .venv/.ready ## Make the virtual environment with what the portal needs
	@$(BIN)/pybabel --quiet compile --directory translations

setup-test: .venv/.ready-test ## The same with what the tests need, a browser and Node packages included
	@$(BIN)/pybabel --quiet compile --directory translations
	@bin/browser
	@bin/providers

run: setup ## Set everything up and serve the portal with demo data (PORT=5000)
	@$(FLASK) upgrade
	@$(FLASK) demo --if-empty
	@$(FLASK) serve --port $(PORT)

test: check ## Set everything up and pass every gate and test: SQLite, PostgreSQL, a real browser
	@$(BIN)/python -m pytest -n 3 --dist loadscope

test-processors: setup-test ## The contract tests of payment processors on a third-party fake, and with STRIPE_TEST_KEY on Stripe's test mode
	@bin/test-processors

check: setup-test ## The gates alone: lint, format, import contracts, types, templates
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --config setup.cfg >/dev/null || $(BIN)/lint-imports --config setup.cfg
	@$(BIN)/mypy
	@$(BIN)/djlint --quiet --lint templates

bench: setup-test ## Ratios of the dashboard against a no-op view and hand-written SQL, on both engines
	@$(BIN)/python -m bench

lock: ## Pin the newest dependencies, with hashes and without addresses
	@uv pip compile -q pyproject.toml --universal --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.txt
	@uv pip compile -q pyproject.toml --all-extras --group dev --universal --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements-dev.txt

clean: ## Remove the virtual environment and everything made
	@rm -rf .venv var
