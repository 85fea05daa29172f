# Attune. `make` lists what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run test test-heavy check audit bench

# Given to every pip install, e.g. make run PIP_ARGS="--find-links wheels"
PIP_ARGS ?=
# Given to pytest, e.g. make test ARGS="-k segment"
ARGS ?=

# The browser of the heavy tests
CHROMIUM ?= /usr/bin/chromium
export CHROMIUM

# Slow senders and readers of the heavy tests and the bench
SLOWHTTPTEST ?= /usr/bin/slowhttptest

VENV := .venv
PY := $(VENV)/bin/python
hash = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
RUN_STAMP := $(VENV)/.installed-run-$(call hash,requirements.txt)
TEST_STAMP := $(VENV)/.installed-test-$(call hash,requirements.txt requirements-tracing.txt tests/requirements.txt)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: $(RUN_STAMP) ## start everything on this machine (Ctrl-C stops it)
	@exec $(PY) -m gateway run

test: $(TEST_STAMP) ## run the tests, on a Postgres and Redis of their own
	$(PY) -m pytest -n 2 -m "not heavy" $(ARGS)

test-heavy: $(TEST_STAMP) | $(CHROMIUM) $(SLOWHTTPTEST) ## run the slow tests: processes killed, browsers, load
	$(PY) -m pytest -m heavy $(ARGS)

check: $(TEST_STAMP) ## check format, lint, types, import arrows, dangerous calls
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/bandit --quiet -c pyproject.toml -r schemas connectors gateway ranking 2>/dev/null

audit: $(TEST_STAMP) ## look for known weaknesses in the code and in the pinned packages
	$(PY) tests/audit.py

bench: $(TEST_STAMP) ## measure against the bars, as JSON lines
	$(PY) -m bench

# One virtualenv for all targets; a stamp per content of the requirements, so that a pull that
# changes them installs again and nothing else does.
$(RUN_STAMP): | $(PY)
	@echo "Installing requirements.txt (a minute or two the first time; pip says what it is at) ..."
	@$(PY) -m pip install --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	@rm -f $(VENV)/.installed-run-* && touch $@

$(TEST_STAMP): $(RUN_STAMP)
	@echo "Installing tests/requirements.txt ..."
	@$(PY) -m pip install --disable-pip-version-check $(PIP_ARGS) -r tests/requirements.txt
	@rm -f $(VENV)/.installed-test-* && touch $@

# A Debian package, where we may install it; without it its tests are skipped and say so.
define debian
	@if [ $@ != /usr/bin/$(1) ] || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	  echo "There is no $@, so its tests will be skipped: install Debian's $(1)$(2)."; \
	else \
	  echo "Installing $(1) for its tests ..."; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  { apt-get update && apt-get install -y --no-install-recommends $(1); } >/dev/null || \
	    echo "apt-get could not install $(1), so its tests will be skipped."; \
	fi
endef

$(CHROMIUM):
	$(call debian,chromium, or set CHROMIUM)

$(SLOWHTTPTEST):
	$(call debian,slowhttptest)

$(PY):
	@for candidate in $(PYTHON) python3.11 python3 python3.12 python3.13; do \
	  $$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  $$candidate -c 'import ensurepip, venv' 2>/dev/null || { missing=$$candidate; continue; }; \
	  exec $$candidate -m venv $(VENV); \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "$$missing cannot make virtual environments: install its venv package (Debian: python3-venv)." >&2; \
	else \
	  echo "Attune needs Python 3.11 or newer: install python3.11, or name one with make PYTHON=/path." >&2; \
	fi; exit 1
