# The command set, for people and for CI alike.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARTICLE := $(VENV)/.article
BROWSER := $(VENV)/.browser
DOCS := $(VENV)/.docs
MATHJAX := docs/_mathjax/node_modules/mathjax/es5/tex-svg.js

.PHONY: help test test-browser docs lint unit coverage floors dist api replicate notebooks figures article bench mutants clean

help:
	@echo "make replicate   set up .venv and run the quick profile end to end"
	@echo "make test        set up .venv and run everything but the browser: lint, types, tests, README, notebooks"
	@echo "make test-browser  set up Playwright and Chromium, and test in it the explorer, the report, JupyterLab, Notebook,"
	@echo "                 Voilà and the documentation site, if it is built"
	@echo "make docs        build the documentation site in docs/_build/html, and check its links and examples"
	@echo "make lint        style, types and layers: ruff, mypy, import-linter"
	@echo "make unit        quick tests without other processes, and the examples in docstrings and README"
	@echo "make coverage    the same as make test, but lint, and say which lines and branches no test runs (at least 95 % must)"
	@echo "make floors      unit tests with the lowest versions that pyproject.toml allows, in .floors"
	@echo "make dist        build the wheel and the sdist in dist, check both, and test the sdist"
	@echo "make api         renew docs/api.md, the list of public names"
	@echo "make notebooks   execute the notebooks in place, renewing their committed outputs"
	@echo "make figures     run the full profile, renew figures/, its report, the README's tables and paper.md"
	@echo "make article     make article/article.pdf and paper.md from the results in figures/, by pandoc and Typst"
	@echo "make bench       measure every row of benchmarks/README.md, and rewrite them there"
	@echo "make mutants     break the package in thousands of small ways (hours; SAMPLE=80: 80 a module;"
	@echo "                 MODULES=rules: only of modules whose path contains this); every test that notices counts"
	@echo "make clean       remove .venv, the site and caches"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(READY)
	$(BIN)/pytest --numprocesses auto -m "not system and not slow" tests deep_nb README.md docs/*.md

test: lint
	$(BIN)/pytest --numprocesses auto -m "not browser"

coverage: $(READY)
	$(BIN)/pytest --numprocesses auto -m "not browser" --cov

# Playwright drives a Chromium of the system. Where neither can be had, the tests say so and are skipped.
$(BROWSER): $(READY)
	-$(BIN)/python -m pip install --quiet --editable '.[test,browser]' && touch $@

test-browser: $(BROWSER)
	-command -v chromium || command -v chromium-browser || { apt-get update -qq && apt-get install -qq --yes chromium; }
	$(BIN)/pytest tests/test_*_browser.py --capture=no -rs -o addopts=

# Sphinx and its extensions; and MathJax from npm, which comes with the site.
$(DOCS): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[test,docs]'
	touch $@

$(MATHJAX):
	npm install --silent --no-save --prefix docs/_mathjax mathjax@3.2.2

docs: $(DOCS) $(MATHJAX)
	$(BIN)/sphinx-build -q -W --keep-going --fresh-env --write-all -c docs . docs/_build/html
	$(BIN)/pytest tests/test_docs.py docs/*.md

# Old libraries warn of newer ones. NumPy itself ignores the message about ndarray's size.
FLOORS := .floors/bin/python
floors: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .floors
	$(BIN)/uv pip install --quiet --python $(FLOORS) --resolution lowest-direct --editable '.[test]'
	$(FLOORS) -Xfrozen_modules=off -m pytest --numprocesses auto -m 'not system' tests deep_nb README.md docs/*.md \
	    -W 'ignore:numpy.ndarray size changed' -W ignore::DeprecationWarning \
	    -W ignore::FutureWarning -W ignore::PendingDeprecationWarning

# The sdist tests itself: the tests of what a wheel lays out, and of golden data, run in its copy.
dist: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[test,dist]'
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/check-manifest
	tar --extract --gzip --directory dist --file dist/*.tar.gz
	cd dist/deep_nb-*/ && $(abspath $(BIN))/pytest --quiet -o addopts= -p no:cacheprovider \
	    tests/test_golden.py tests/test_project.py tests/test_starter.py tests/test_public.py
	rm -r dist/deep_nb-*/

api: $(READY)
	$(BIN)/python docs/api.py docs/api.md

replicate: $(READY)
	$(BIN)/deep-nb replicate --profile quick

notebooks: $(READY)
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level ERROR \
	    --ExecutePreprocessor.record_timing=False --ExecutePreprocessor.store_widget_state=False \
	    notebooks/*.ipynb

figures: $(READY)
	$(BIN)/deep-nb replicate --profile full --figures figures
	$(BIN)/deep-nb report figures --readme README.md
	$(BIN)/python article/build.py --text

$(ARTICLE): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[test,article]'
	touch $@

article: $(ARTICLE)
	$(BIN)/python article/build.py

bench: $(READY)
	$(BIN)/pytest benchmarks --quiet -o addopts= --benchmark-columns=min,median,rounds

JOBS ?= 2
SAMPLE ?= 0
MODULES ?=

# OpenBLAS must have no threads of its own: each mutant is a fork. Processes that tests start import the mutants, too.
mutants: $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[test,mutants]'
	rm -rf mutants && mkdir mutants
	PYTHONPATH=$(CURDIR)/mutants OPENBLAS_NUM_THREADS=1 \
	    $(BIN)/python tests/mutants.py --modules '$(MODULES)' --sample $(SAMPLE) --max-children $(JOBS)

clean:
	rm -rf docs/_* docs/api docs/gallery.md
	rm -rf $(VENV) .floors dist mutants article/build article/article.pdf *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
