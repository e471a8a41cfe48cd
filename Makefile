# Each target is one line that calls a tool. `make run` and `make test` set up all they need.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Sources of packages come from the user's own pip or uv configuration; versions and hashes are those of requirements.lock.
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --constraint requirements.lock --editable
export UV_LINK_MODE ?= copy
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

.PHONY: help run numpy bench test test-long e2e cluster cluster-down programs images lint types imports format crd metrics dashboards docs docs-serve lock build clean foreign viewer dashboards-pictures

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"

$(VENV)/.base: pyproject.toml requirements.lock hatch_build.py fedcore/aggregation/kernels.c | $(BIN)/uv
	$(INSTALL) . && touch $@

$(VENV)/.torch: $(VENV)/.base
	@echo "Installing PyTorch; on Linux its wheels are about 3 GB, once." && $(INSTALL) '.[torch,report]' && touch $@

$(VENV)/.dev: $(VENV)/.torch
	$(INSTALL) '.[torch,operator,report,tensorboard,mlflow]' --group dev && touch $@

run: $(VENV)/.torch ## Install what is needed and train examples/mnist.yaml on this machine
	$(BIN)/fedcore run examples/mnist.yaml

numpy: $(VENV)/.base ## The same without PyTorch: examples/numpy.yaml
	$(BIN)/fedcore run examples/numpy.yaml

test: lint types imports foreign viewer ## Run every check, then all tests but the long ones, those on a Kubernetes last
	$(BIN)/python -m pytest -m "not (long or apiserver or e2e)" --numprocesses auto --maxprocesses 4 --dist loadfile
	@$(MAKE) --no-print-directory e2e

test-long: $(VENV)/.dev foreign programs ## Run the tests that take minutes each, on a Kubernetes and without
	$(BIN)/python -m pytest -m long --timeout 3600

e2e: $(VENV)/.dev foreign programs ## Run only the tests on a real Kubernetes: an API server, and a cluster with nodes
	$(BIN)/python -m pytest -m "(apiserver or e2e) and not long"

cluster: $(VENV)/.base ## Start a Kubernetes cluster on this machine to try things out; cluster-down removes it
	$(BIN)/python -m tests.cluster up

cluster-down: $(VENV)/.base ## Remove that cluster, and what killed test runs left
	$(BIN)/python -m tests.cluster down

programs: $(VENV)/.base ## Install, compile and build what the cluster of the tests needs, where that can be: the first time 20 minutes
	$(BIN)/python -m tests.cluster build

images: ## Build the images with buildah; REGISTRY=... PUSH=1 pushes them; TAG, BASE_IMAGE, TORCH_FROM, IMAGES change what is built
	$(PYTHON) images/build.py $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(TAG),--tag $(TAG)) $(if $(BASE_IMAGE),--base-image $(BASE_IMAGE)) $(if $(TORCH_FROM),--torch-from $(TORCH_FROM)) $(if $(PUSH),--push --values $(or $(VALUES),build/images.yaml)) $(if $(PLAIN_HTTP),--plain-http) $(IMAGES)

foreign: ## Install what tests need besides Python, where apt can: Ruby with its XML-RPC client, Prometheus, Chromium, npm
	@ruby -e 'require "xmlrpc/client"' 2>/dev/null || tests/install_ruby.sh
	@{ command -v prometheus && command -v promtool && command -v prometheus-pushgateway; } >/dev/null || tests/install_prometheus.sh
	@command -v chromium >/dev/null || tests/install_chromium.sh
	@command -v npm >/dev/null || tests/install_npm.sh

viewer: $(VENV)/.dev foreign ## Prepare the page that draws the dashboards in tests: packages from npm, 450 MB in the cache, once
	@$(BIN)/python -m tests.dashboards.bundle >/dev/null

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

imports: $(VENV)/.dev ## import-linter: who may import whom
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Apply ruff's fixes and format
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

bench: $(VENV)/.base ## Measure what FedCore costs, about ten minutes, and write docs/benchmarks.md
	$(BIN)/python -m bench table

crd: $(VENV)/.base ## Make the CRD and its reference page of the models
	$(BIN)/fedcore crd > crds/federatedjobs.yaml && cp crds/federatedjobs.yaml charts/fedcore/files/crds/ && $(BIN)/fedcore crd --reference > docs/crd.md

metrics: $(VENV)/.dev ## Make docs/metrics.md of the catalogues
	PYTHONPATH=operator $(BIN)/python -m charts.dashboards.reference > docs/metrics.md

dashboards: $(VENV)/.dev ## Make the JSON of the Grafana boards, and what docs/dashboards.md says of their panels
	PYTHONPATH=operator $(BIN)/python -m charts.dashboards

docs: $(VENV)/.dev ## Build the documentation as a site into build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "build/site/index.html"

docs-serve: $(VENV)/.dev ## Serve the documentation on this machine, anew at each change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --no-strict

dashboards-pictures: viewer ## Draw the boards of one job for docs/dashboards.md, from a real run of two minutes
	$(BIN)/python -m tests.dashboards.pictures

lock: $(BIN)/uv ## Resolve requirements.lock anew
	$(BIN)/uv pip compile pyproject.toml --universal --all-extras --group dev --generate-hashes --no-header --no-emit-index-url --no-annotate --quiet --upgrade -o requirements.lock

build: $(BIN)/uv ## Build wheel and source distribution into dist/
	$(BIN)/uv build

clean: ## Remove what was built; the runs stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
