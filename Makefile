# Everything a person needs to run, test and check Rigbeat. `make` alone lists it.

PYTHON ?= python3
ARGS ?=
TESTS ?=
SEED ?=
ROW ?=

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e
# pip's own words come first; then what to do.
OR_SAY := || { echo "The Python packages could not be installed, see above: check the network and the disk, then run it again."; exit 1; }
INPUTS := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup run test test-cron versions test-versions simulate chaos mutants attack bench bench-drain check fmt clean

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.dev ## Make .venv with everything for work on Rigbeat (PYTHON=python3.12 chooses another Python)

run: .venv/.stack ## Start the whole system here: make run ARGS="--port 9000 --no-demo"
	@exec $(BIN)/rigbeat up $(ARGS)

test: .venv/.dev ## Run the tests: make test TESTS=tests/unit ARGS="-k cron"
	@$(if $(TESTS),$(BIN)/python -m pytest $(TESTS),tests/run.sh $(BIN)/python) $(ARGS)

test-cron: .venv/.dev ## Hold cron against its oracles for minutes: make test-cron ARGS="--seed 7 --cron-expressions 20000"
	$(BIN)/python -m pytest tests/contract/test_schedule_oracle.py -s --timeout=3600 --cron-expressions 5000 $(ARGS)

versions: .venv/.dev ## Prepare RabbitMQ 4 (Debian 13's) and PostgreSQL 15 (Debian 12's) for tests, once; needs root and debootstrap
	@$(BIN)/python -m tests.support.debian

test-versions: versions ## Run the integration tests on these: make test-versions TESTS=tests/integration/test_scheduler.py
	@$(BIN)/python -m pytest --rabbitmq 4 --postgres 15 $(or $(TESTS),tests/integration) $(ARGS)

simulate: .venv/.dev ## Weeks of a lab in one process: make simulate SEED=7 ARGS="--fires 200000 --trouble forgetful"
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos: .venv/.dev ## The fault suite: make chaos SEED=7, one row: make chaos ROW=broker:wiped SEED=7, the rows: make chaos ARGS=--list
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(foreach row,$(ROW),--row '$(row)') $(ARGS)

mutants: .venv/.dev ## Break the product on purpose, one fault at a time, and see that the fault suite finds it
	$(BIN)/python -m tests.chaos.mutants $(ARGS)

attack: .venv/.dev ## Thousands of requests from each role and of inputs to each reader: make attack SEED=7 ARGS="--attack-cases 9000"
	$(BIN)/python -m pytest tests/integration/test_api_schema.py tests/unit/test_fuzz.py -s --timeout=7200 --attack-cases 3000 --hypothesis-profile attack $(if $(SEED),--seed $(SEED) --hypothesis-seed $(SEED)) $(ARGS)

bench: .venv/.dev ## Measure the minute-0 storm through real servers: make bench ARGS="--hosts 20 --deployments 1000"
	$(BIN)/python -m tests.bench.storm $(ARGS)

bench-drain: .venv/.dev ## Measure how fast a backlog of results drains: make bench-drain ARGS="--events 6000"
	$(BIN)/python -m tests.bench.drain $(ARGS)

check: .venv/.dev ## Check format, style, types, imports, and that a host needs no more than its extra
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports
	tests/check_host_runner_install.sh $(BIN)/python

fmt: .venv/.dev ## Format, and mend what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove .venv and all caches; .rigbeat, where the system keeps its state, stays
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.rigbeat/*' -prune -exec rm -rf {} +

# An installation is as new as its stamp, and made again when what it was made from has changed. To run the system takes
# less than to work on it; the larger installation has the smaller in it.
.venv/.stack: $(INPUTS) | $(BIN)/pip
	@if [ .venv/.dev -nt pyproject.toml ] && [ .venv/.dev -nt constraints.txt ]; then exit 0; fi; \
	echo "Installing Rigbeat into .venv (once, and after a change of its dependencies) ..." && $(INSTALL) '.[stack]' $(OR_SAY)
	@touch $@

.venv/.dev: $(INPUTS) | $(BIN)/pip
	@echo "Installing Rigbeat and its tools into .venv (once, and after a change of its dependencies) ..."
	@$(INSTALL) '.[dev]' $(OR_SAY)
	@touch $@

# pip is what is made last: with it the environment is whole.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON) here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rigbeat needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1): name a newer one: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv --clear .venv || { rm -rf .venv; echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
