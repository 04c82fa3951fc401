# The commands for working on this project; `make help` lists them.
# PYTHON selects the interpreter of the virtual environment: make test PYTHON=python3.13

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Debian packages that the tests need beside Python packages: a browser with a font, FUSE, servers, a database.
APT_PACKAGES := chromium fonts-dejavu-core fuse3 nginx openssh-server postgresql
# Only `make test-all` needs them: Ceph, whose gateway speaks S3.
APT_PACKAGES_ALL := $(APT_PACKAGES) ceph-mon ceph-osd radosgw

# Each process runs a share of the tests, so that fixtures of a module are made once, and then takes over what others have left. Three
# for two cores, since tests wait for servers and time limits in a fifth of their time.
PARALLEL := -n 3 --dist worksteal

# The tests that `make quick` runs, by folder: those that start neither a registry nor a program.
QUICK := $(addprefix tests/,format objects tables store building/spec test_architecture.py test_errors.py)
# Shown by `make quick`; `building` is run in part.
NOT_QUICK = $(filter-out $(QUICK:=/) tests/__pycache__/ tests/golden/,$(sort $(wildcard tests/*/)))

# How much the benchmarks measure: tiny, small or full.
SIZE := small

# How long `make chaos` tries, and what it draws by; a number printed by an earlier run repeats it.
CHAOS_SECONDS := 600
SEED :=

# Files of tests, in memory where there is room; pytest's own choice otherwise.
export PYTEST_DEBUG_TEMPROOT = $(shell scripts/memory.sh)

# The tests start hundreds of processes, and without files of bytecode each of them compiles every module again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo quick test test-all debian servers lint types wheel chaos bench docs clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/.with-server ## publish the sample packages through a registry and import one elsewhere
	@$(BIN)/python scripts/demo.py

quick: lint types ## lint, types and the fast unit tests, in two minutes
	$(BIN)/pytest $(PARALLEL) -q -m 'not slow' $(QUICK)
	@echo 'Left out: tests marked "slow" or "big", and these folders, except for what is named above: $(NOT_QUICK)'

# With `make --jobs=2`, as in CI, what comes before the tests is done side by side.
test: debian servers lint types wheel ## formatting, lint, types and tests, as in CI; reports what is left out
	$(BIN)/pytest $(PARALLEL) -rs

test-all: $(VENV)/.with-all-tests lint types ## everything, with the big tests; fails if a tool is missing
	@scripts/apt.sh --required $(APT_PACKAGES_ALL)
	@scripts/servers.sh --required $(VENV) azurite dvc swift
	$(BIN)/python scripts/check_wheel.py --install
	$(BIN)/pytest $(PARALLEL) -rs --everything

debian:
	@scripts/apt.sh $(APT_PACKAGES)

servers: $(VENV)/.with-tests
	@scripts/servers.sh $(VENV) azurite

lint: $(VENV)/.with-tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.with-tests
	$(BIN)/mypy

# After `lint`, since it makes a copy of the sources in this folder for a moment.
wheel: lint
	$(BIN)/python scripts/check_wheel.py

chaos: $(VENV)/.with-tests ## commands with crashes, failing system calls and connections; CHAOS_SECONDS=60 SEED=1
	$(BIN)/python -m tests.faults.chaos --seconds $(CHAOS_SECONDS) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.with-tests ## run every benchmark; SIZE=full for the figures of the documentation
	@scripts/apt.sh git-lfs
	@set -e; for each in benchmarks/[a-z]*.py; do echo "$$each"; $(BIN)/python "$$each" --size $(SIZE); done
	@if [ $(SIZE) = full ]; then $(BIN)/python benchmarks/_readme.py; fi

docs: $(VENV)/.with-server ## generate docs/commands.md and the reference in docs/python.md
	$(BIN)/python scripts/docs.py

clean: ## remove everything that these commands made, and the virtual environment
	rm -rf $(VENV) build dist *.egg-info .coverage* htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made: scripts/venv.sh
	scripts/venv.sh "$(PYTHON)" $(VENV)
	@touch $@

# Editable, so that a change needs no new installation; `scripts/check_wheel.py` detects files that are missing in the wheel.
$(VENV)/.with-server: $(VENV)/.made setup.cfg pyproject.toml
	$(PIP_INSTALL) --editable '.[server]'
	@touch $@

$(VENV)/.with-tests: $(VENV)/.made setup.cfg pyproject.toml
	$(PIP_INSTALL) --editable '.[server,test]'
	@touch $@ $(VENV)/.with-server

$(VENV)/.with-all-tests: $(VENV)/.made setup.cfg pyproject.toml
	$(PIP_INSTALL) --editable '.[server,test,test-all]'
	@touch $@ $(VENV)/.with-tests $(VENV)/.with-server
