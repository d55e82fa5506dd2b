# What a user types. Every target makes the environment it needs from the locked, hashed list of packages.
.PHONY: up demo test test-usb check bench lock clean help
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/run.stamp: requirements.lock pyproject.toml
	@tools/make_venv.sh $(VENV) requirements.lock
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml
	@tools/make_venv.sh $(VENV) requirements-dev.lock
	@touch $@ $(VENV)/run.stamp

up: $(VENV)/run.stamp ## start everything; ARGS=--demo for the emulated dock, ARGS="--port 9000" for another port
	@$(BIN)/bwc up $(ARGS)

demo: $(VENV)/run.stamp ## go the whole way once, in var/demo, and show that it held
	@$(BIN)/bwc demo

check: $(VENV)/dev.stamp ## format, lint, strict types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: $(VENV)/dev.stamp ## everything that proves it, browser included
	@tools/test_packages.sh
	$(BIN)/python -m pytest $(ARGS)

test-usb: $(VENV)/dev.stamp ## the real Linux USB stack in QEMU (issue B brings it)
	@echo "The QEMU bench is not built yet: see docs/architecture.md." && exit 1

bench: $(VENV)/dev.stamp ## ratios against peers on the same bytes
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(VENV)/dev.stamp ## write the lock files again (hashes, no addresses)
	tools/lock.sh $(BIN)

clean: ## remove the environment and caches; never the data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
