# `make demo` and `make test` each work as the first command in a fresh clone.
PYTHON ?= python3
BIN := .venv/bin
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Compiled files are kept, also where the environment says otherwise: else every process of the tests compiles them anew.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help demo test quick coverage containers chaos bench profile promtool check format lock sbom schemas freeze docs screenshots clean

help: ## Show what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.venv/ready: requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv-bench/ready: tests/benchmarks/peers/requirements.lock
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --disable-pip-version-check --require-hashes -r tests/benchmarks/peers/requirements.lock
	@touch $@

demo: .venv/ready ## Push a sample of 25 companies into a simulated ConnectWise, with no server at all, and serve the pages
	$(BIN)/phin-connectwise demo

test: .venv/ready ## Run the tests, with real RabbitMQ and PostgreSQL
	$(BIN)/python -m pytest -n auto

quick: .venv/ready ## Run the tests of units and contracts only
	$(BIN)/python -m pytest -n auto tests/unit tests/contract

coverage: .venv/ready ## Run the tests, and list the lines and branches that none of them reaches
	$(BIN)/python -m pytest -n auto --cov --cov-report=term-missing:skip-covered

containers: .venv/ready ## Try docker-compose.yml from a fresh clone of what is committed, with Docker (ten minutes)
	$(BIN)/python -m pytest -s tests/containers

chaos: .venv/ready ## Kill workers, restart servers, spoil requests, and count what was lost (4 to 7 minutes; SEED=7 repeats a run)
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED))

bench: .venv/ready .venv-bench/ready ## Measure memory, limits and fairness, then speed beside other frameworks (minutes)
	$(BIN)/python -m pytest -m benchmark tests/benchmarks
	$(BIN)/python -m tests.benchmarks.speed

profile: .venv/ready .venv-bench/ready ## Show where the worker's CPU goes, by function (a minute)
	$(BIN)/python -m tests.benchmarks.profile .venv-bench/bin/py-spy

.promtool/usr/bin/promtool:
	rm -rf .promtool && mkdir .promtool
	cd .promtool && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb

promtool: .promtool/usr/bin/promtool ## Get Prometheus's promtool, which tests need; it is unpacked, not installed (Debian, Ubuntu)

check: .venv/ready ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/ready ## Put the code into its standard form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Resolve the dependencies anew (needs uv)
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --universal --generate-hashes --python-version 3.11 --quiet --upgrade --extra traces -o requirements.lock pyproject.toml
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --universal --generate-hashes --python-version 3.11 --quiet --upgrade --extra dev --extra bench --extra traces -c requirements.lock -o requirements-dev.lock pyproject.toml
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --universal --generate-hashes --python-version 3.11 --quiet --upgrade -o tests/benchmarks/peers/requirements.lock tests/benchmarks/peers/requirements.in

sbom: .venv/ready ## Write sbom.cdx.json (CycloneDX): the packages of the image
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible --of JSON -o sbom.cdx.json requirements.lock

schemas: .venv/ready ## Write messages/schemas anew from the models
	$(BIN)/python -m messages.schemas

freeze: schemas ## Keep messages/schemas as those of the version in pyproject.toml, once, when it is released
	mkdir messages/schemas/released/$(VERSION)
	cp messages/schemas/*.json messages/schemas/released/$(VERSION)

docs: .venv/ready ## Write docs/problems.md, docs/asyncapi.yaml and docs/asyncapi.html anew from the code
	@mkdir -p docs
	$(BIN)/python -m worker.rules.problems_docs > docs/problems.md
	$(BIN)/python -m worker.asyncapi docs

screenshots: .venv/ready ## Take the pictures of the pages in docs/images anew (needs Chromium); look at each one
	$(BIN)/python -m tests.web.screenshots docs/images

clean: ## Remove what the commands above made
	rm -rf .venv .venv-bench .promtool tests/benchmarks/results .coverage* .demo .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
