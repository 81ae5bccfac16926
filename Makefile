# What a developer runs. Needs Python 3.11 or newer and make; every target makes the virtual environment it needs.
#   make test ARGS='-k book'      options for pytest (demo and bench take ARGS too)
#   make test WORKERS=1           one test after another (3 side by side is the default)
#   make test PYTHON=python3.12   another Python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-unit test-mutations campaign test-kubernetes test-image test-observability image lab bench docs docs-site lint format lock clean \
	environment environment-bench environment-docs environment-lock
# The environments hold all that is needed; a caller's own module path must not leak in.
unexport PYTHONPATH

# The first Python that is new enough and can make environments; else one that is new enough, to say what it lacks.
# 3.12 and 3.11 go first: cavro, which reads and writes Avro twice as fast as fastavro, has wheels for them only.
PYTHON ?= $(shell for modules in sys,ensurepip,venv sys; do \
	for python in python3.12 python3.11 python3.13 python3; do \
	"$$python" -c "import $$modules; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && echo "$$python" && exit; \
	done; done)

NO_PYTHON = no Python 3.11 or newer found: install one, or name it: make PYTHON=/path/to/python3.11 ...
MAKE_ENVIRONMENT = @python="$(PYTHON)"; test -n "$$python" || { echo "$(NO_PYTHON)" >&2; exit 1; }; \
	"$$python" requirements/environment.py

# Tested beside the real libraries, which pin old versions of what we use: in the environment that has them.
ADAPTERS := tests/unit/books/adapters
# The longest first, so that the short ones fill what is left. Most of them wait for processes: more workers than processors pay.
LAYERS := $(wildcard $(addprefix tests/,faults integration e2e unit))
WORKERS ?= 3
COMPILE = .venv-lock/bin/uv pip compile --quiet --no-config --system-certs --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-emit-package backpack-streams --no-emit-package backpack-sandbox --no-emit-package backpack-embedded-kafka --custom-compile-command 'make lock' $(ARGS)

help: ## list the targets (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' Makefile

demo: environment ## exchange stand-in, real Kafka, every service and a live view; Ctrl-C ends all (ARGS=--live: the real exchange)
	@.venv/bin/backpack-streams demo $(ARGS)

test: environment environment-bench ## all tests: unit, integration, faults, end to end (ARGS='-k book')
	@.venv-bench/bin/python -m pytest $(ADAPTERS) $(ARGS) || test $$? -eq 5 # 5: ARGS chose none of them
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --ignore $(ADAPTERS) $(LAYERS) $(ARGS)

test-unit: environment ## the tests that need no socket and no Kafka
	@.venv/bin/python -m pytest tests/unit $(ARGS)

test-mutations: environment ## change the logic of sequences, one place at a time: each change must fail a test (ARGS=sequencing.chain)
	@PYTHONPATH=tests .venv/bin/python tests/mutations.py $(ARGS)

campaign: environment ## the plant under a random schedule of faults, judged against the exchange's ledger (SEED=7 or SEEDS=1,2,3 MINUTES=5 ARGS=--with-platform-faults)
	@PYTHONPATH=tests .venv/bin/python -m faults.campaign $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

test-kubernetes: lab ## the chart: rendered, validated, and installed on a real Kubernetes control plane (ARGS='-k rollback')
	@.venv/bin/python -m pytest tests/chart tests/kubernetes $(ARGS)

image: ## the container image, with docker, podman or buildah; prints its size (ARGS='--tag NAME', ARGS='--build-arg BASE=...')
	@python="$(PYTHON)"; test -n "$$python" || { echo "$(NO_PYTHON)" >&2; exit 1; }; "$$python" image/build.py $(ARGS)

test-image: environment ## the image: built from the Dockerfile and started (ARGS='-k signals')
	@.venv/bin/python -m pytest tests/image $(ARGS)

test-observability: environment ## alerts and dashboard against a real Prometheus (ARGS='-k rules')
	@.venv/bin/python -m pytest tests/observability $(ARGS)

lab: environment ## compile helm and a Kubernetes control plane into the user's cache: about 10 minutes on 2 cores, once
	@PYTHONPATH=tests .venv/bin/python -m kubelab build

bench: environment-bench ## speed, side by side with ccxt.pro and aiokafka
	@PYTHONPATH=tests .venv-bench/bin/python -m benchmarks $(ARGS)

docs: environment ## generate what docs/ and the chart say of topics, schemas, metrics, settings and values
	@PYTHONPATH=docs/tools .venv/bin/python -m contract docs
	@.venv/bin/python docs/tools/commands_page.py
	@PYTHONPATH=tests .venv/bin/python tests/chart_files.py

docs-site: environment-docs ## build the documentation's site into build/site, every warning an error
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --clean --quiet $(ARGS)
	@echo "build/site/index.html"

lint: environment ## style and types, changing nothing
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/mypy --explicit-package-bases requirements benchmarks image examples docs/tools
	@.venv/bin/mypy --config-file tests/mypy.ini tests

format: environment ## put the code into the house style
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: environment-lock ## generate requirements/*.txt from pyproject.toml (ARGS=--upgrade: newest versions)
	@$(COMPILE) --extra dev --output-file requirements/dev.txt pyproject.toml
	@$(COMPILE) --extra bench --output-file requirements/bench.txt pyproject.toml
	@$(COMPILE) --extra services --extra registry --extra socks --extra gateway --constraint requirements/dev.txt --output-file requirements/image.txt pyproject.toml
	@$(COMPILE) --constraint requirements/dev.txt --output-file requirements/build.txt requirements/build.in
	@$(COMPILE) --output-file requirements/docs.txt requirements/docs.in
	@$(COMPILE) --output-file requirements/lock.txt requirements/lock.in
	@$(COMPILE) --output-file tests/kubelab/go.txt tests/kubelab/go.in

clean: ## remove environments, caches and builds
	@rm -rf .venv .venv-bench .venv-docs .venv-lock .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	@find benchmarks requirements services tests -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	$(MAKE_ENVIRONMENT) .venv requirements/dev.txt

environment-bench:
	$(MAKE_ENVIRONMENT) .venv-bench requirements/bench.txt

environment-docs:
	$(MAKE_ENVIRONMENT) --without-project .venv-docs requirements/docs.txt

environment-lock:
	$(MAKE_ENVIRONMENT) --without-project .venv-lock requirements/lock.txt
