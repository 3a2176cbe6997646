# Two commands from nothing but Python (3.11 or later, on Debian with python3-venv) and make: `make demo`, `make test`.
# Both create .venv here and install into it the versions that constraints.txt pins.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Workers of `make test`, one more than there are processors: many tests wait for a process.
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
BUNDLE ?= runs/quickstart/bundle
# Where bytecode is turned off, each of the hundreds of processes that tests start would compile tledge anew.
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test types tests docs first-hour bench torture mutation audit extras floors device-check clean

demo: $(VENV)/all.installed  ## train, export, verify, bundle and predict on drawn hands
	$(BIN)/tledge train recipes/quickstart.toml --out runs/quickstart --force
	$(BIN)/tledge export runs/quickstart --int8
	$(BIN)/tledge verify runs/quickstart/bundle
	$(BIN)/tledge predict runs/quickstart/bundle runs/quickstart/bundle/golden/0*.jpg

test: $(VENV)/dev.installed  ## all checks and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory --jobs 2 types tests  # mypy keeps one processor busy, pytest starts slowly

types: $(VENV)/dev.installed
	$(BIN)/mypy

tests: $(VENV)/dev.installed
	MAKEFLAGS= $(BIN)/python -m pytest -m "" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 25

docs: $(VENV)/dev.installed  ## the documentation as a site in site/; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs site

first-hour: $(VENV)/dev.installed  ## the tutorial with 3 x 60 of PHOTOS, timed; BEFORE=COMMIT compares with older code
	$(BIN)/python tools/first_hour.py $(PHOTOS) $(if $(BEFORE),--before $(BEFORE))

bench: $(VENV)/all.installed  ## tledge beside plain Keras, ratios from one run; see benchmarks/README.md
	$(BIN)/python -m benchmarks

torture: $(VENV)/dev.installed  ## kills, floods and hostile files, one line a case; REDUCED=1 takes minutes
	$(BIN)/python -m torture $(if $(REDUCED),--reduced)

mutation: $(VENV)/dev.installed  ## plant faults, and change MODULES one operator at a time: does a test notice? hours
	$(BIN)/python tools/planted_faults.py --slow
	$(BIN)/python tools/mutation.py $(MODULES)

audit: $(VENV)/dev.installed  ## pins, licences, and vulnerabilities where a database of them can be reached
	$(BIN)/python tools/notice.py --check
	$(BIN)/python tools/audit.py

extras:  ## install each extra alone into an environment of its own and import what it promises
	$(PYTHON) tools/extras.py

floors:  ## open hostile files with the oldest versions that pyproject.toml allows; downloads gigabytes
	$(PYTHON) tools/floors.py

device-check: $(VENV)/dev.installed  ## BUNDLE on ARM64, emulated: its answers beside this machine's, its runners
	$(BIN)/python tools/device_check.py $(BUNDLE)

clean:
	rm -rf $(VENV) .cache runs build dist site docs/reference

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is not Python 3.11 or \
	later. Install it, or name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make a virtual environment: \
	its module venv or ensurepip is missing. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/%.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable ".[$*]"
	touch $@
