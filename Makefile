# What a source checkout is used for. Everything runs in .venv, which is made, and remade, when needed.
PYTHON ?= python3
VENV ?= .venv
PIP ?= $(VENV)/bin/pip
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
RECIPE ?= recipes/vae-digits.toml

.PHONY: demo test lint docs bench clean

demo: $(VENV)/plots.installed  ## about a minute: train, sample, and say where the picture is
	$(VENV)/bin/genzoo train $(RECIPE) --out demo --overwrite
	$(VENV)/bin/genzoo sample demo -n 64 -o demo/samples.png
	@echo "64 samples: $(CURDIR)/demo/samples.png"

test: $(VENV)/dev.installed $(VENV)/plugins.installed  ## genzoo's own tests, then each plugin's
	$(VENV)/bin/python -m pytest
	set -e; for plugin in $(PLUGINS); do $(VENV)/bin/python -m pytest $$plugin; done

lint: $(VENV)/dev.installed $(VENV)/plugins.installed
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

docs: $(VENV)/docs.installed $(VENV)/plugins.installed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

bench: $(VENV)/plots.installed  ## about a quarter of an hour: measures again what docs/benchmarks/ says
	$(PIP) install -q --no-deps --upgrade --target build/peers -r benchmarks/requirements.txt
	set -e; for script in $(filter-out %/machine.py %/feature_networks.py %/gpu.py,$(wildcard benchmarks/*.py)); do \
		$(VENV)/bin/python $$script; done

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
