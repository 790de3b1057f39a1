# Two commands for a fresh clone:
#   make demo   set up, then the whole story on photos that convscope draws itself
#   make test   set up, then lint, types, tests and the documentation site
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The build of the package itself must not pull other versions either.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint types unit docs clean

demo: $(VENV)/.run
	$(BIN)/convscope demo --out demo-run --overwrite

test: lint types unit docs

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test
	$(BIN)/mypy

unit: $(VENV)/.test
	$(BIN)/pytest --numprocesses auto

# The site, in site/: warnings are errors. What Material has to say of MkDocs 2 is no warning of ours.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "convscope needs Python 3.11 or newer; this is %s. Try: make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	touch $@

clean:
	rm -rf $(VENV) site demo-run demo-run.photos .mypy_cache .pytest_cache .ruff_cache
