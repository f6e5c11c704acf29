# Tasks of a source checkout. They run in .venv, which is created and updated when necessary.
PYTHON ?= python3
VENV ?= .venv
PIP ?= $(VENV)/bin/pip
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
RECIPE ?= recipes/vae-digits.toml

.PHONY: demo test test-fast lint docs docs-test bench weights clean

demo: $(VENV)/plots.installed  ## about a minute: train, evaluate, and say which page to open
	$(VENV)/bin/genzoo train $(RECIPE) --out demo --overwrite
	$(VENV)/bin/genzoo evaluate demo
	@echo "Samples, an interpolation, and the measurements: open $(CURDIR)/demo/report/evaluation.html"

# The workers of pytest-xdist share all tests, those of plugins too. Tests of one group share a worker.
# Those of the site are run by `make docs-test`.
PYTEST := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --dist loadgroup genzoo tests plugins --ignore tests/browser

test: $(VENV)/dev.installed $(VENV)/plugins.installed  ## all tests: genzoo's and the plugins'
	$(PYTEST)

test-fast: $(VENV)/dev.installed $(VENV)/plugins.installed  ## the tests that take at most a few seconds
	$(PYTEST) -m "not slow"

lint: $(VENV)/dev.installed $(VENV)/plugins.installed
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

docs: $(VENV)/docs.installed $(VENV)/onnx.installed $(VENV)/plugins.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict
	$(VENV)/bin/python docs/assets/explorer/build.py site

docs-test: docs $(VENV)/dev.installed $(VENV)/docs-test.installed  ## a second builder, and every page in Chromium
	$(VENV)/bin/zensical build --strict -f zensical.yml
	$(VENV)/bin/python docs/assets/explorer/npm.py axe-core
	$(VENV)/bin/python -m pytest tests/browser

bench: $(VENV)/plots.installed  ## about a quarter of an hour: measures again what docs/benchmarks/ says
	$(PIP) install -q --no-deps --upgrade --target build/peers -r benchmarks/requirements.txt
	set -e; for script in $(filter-out %/machine.py %/feature_networks.py %/gpu.py %/same_bits.py,$(wildcard benchmarks/*.py)); do \
		$(VENV)/bin/python $$script; done

weights: $(VENV)/plots.installed $(VENV)/plugins.installed  ## trains ENTRIES="vae.digits ...", by default all, and stores them
	$(VENV)/bin/python recipes/weights.py $(ENTRIES)

clean:
	rm -rf demo site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/plugins.installed: $(PLUGINS:%=%/pyproject.toml) constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt -e . $(PLUGINS:%=-e %)
	@touch $@

# One stamp per extra: a change of the requirements or the pins installs it again.
$(VENV)/%.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt -e ".[$*]"
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
