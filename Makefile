# Everything from a fresh clone: `make demo`, `make test`. Python 3.11 or newer is all that is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= 2

.PHONY: demo up down test-up test test-fleet lint docs unit coverage integration acceptance soak chaos chaos-briefly long fuzz sim bench kill generated \
	kill-loader bench-loader test-browser test-readers test-airflow test-deploy validate-terraform test-package test-upgrade test-lowest test-newest test-image charts \
	sdist wheels image try-image push-image push-chart check-tag clean

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Vortex needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

NATIVE := $(wildcard native/*) setup.py

$(VENV)/demo.stamp: pyproject.toml constraints.txt $(NATIVE) | $(BIN)/python
	@echo "Installing Vortex into $(VENV)/, with an emulated Kinesis and S3, and DuckDB: about a minute, once."
	$(PIP) -e '.[demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(NATIVE) | $(BIN)/python
	@echo "Installing Vortex into $(VENV)/, with what tests and checks need: about two minutes, once."
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/demo.stamp

$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[docs]'
	@touch $@

demo: $(VENV)/demo.stamp
	$(BIN)/vortex demo

# The processes of deploy/compose without a container engine, on 127.0.0.1; deploy/compose/README.md says what to look at.
up down: $(VENV)/dev.stamp
	$(BIN)/python -m tools.local $@

# All of that, until an hour is loaded into Postgres; about three minutes.
test-up: $(VENV)/dev.stamp
	$(BIN)/pytest -q tests/up

test: lint docs unit integration acceptance soak chaos-briefly

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/codespell
	@if command -v cc >/dev/null && test -f $(PY_INCLUDE)/Python.h; then $(CHECKED_C) -fsyntax-only native/*.c; \
		else echo "no C compiler, or no headers of Python: native/ is not checked"; fi

# The site, in site/; a link that leads nowhere is an error.
docs: $(VENV)/docs.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# One more than the cores, for some tests wait for processes.
unit: $(VENV)/dev.stamp
	$(BIN)/pytest -q -n $$(($(WORKERS) + 1)) tests/unit tests/contract tests/simulation tests/loader

# How many branches of the core its unit tests cover; below the floor of tools/branches.py it fails.
coverage: $(VENV)/dev.stamp
	mkdir -p .tools
	$(BIN)/pytest -q -n $(WORKERS) tests/unit/core --cov=vortex.core --cov-branch \
		--cov-report= --cov-report=json:.tools/coverage.json
	$(BIN)/python -m tools.branches .tools/coverage.json

# These tests wait for processes more than they compute, so twice as many run at once.
integration: $(VENV)/dev.stamp
	$(BIN)/pytest -q -n $$((2 * $(WORKERS))) tests/integration

# A file is for one process: two tests of speed never run beside each other.
acceptance: $(VENV)/dev.stamp
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile tests/acceptance

# A fleet under stress, briefly; for long: make soak MINUTES=10 FLEET=5 SHARDS=16 FAILOVER=10s
MINUTES ?= 1
FLEET ?= 3
SHARDS ?= 6
FAILOVER ?= 5s
soak: $(VENV)/dev.stamp
	$(BIN)/python -m tests.fleet_soak --minutes $(MINUTES) --workers $(FLEET) --shards $(SHARDS) --failover $(FAILOVER)

# Every fault of tests/faults at once, with bombs among the events: make chaos MINUTES=10
chaos: $(VENV)/dev.stamp
	$(BIN)/python -m tests.chaos --minutes $(MINUTES)

chaos-briefly: $(VENV)/dev.stamp
	$(BIN)/python -m tests.chaos --minutes 0.2

# What takes too long for every change.
long: $(VENV)/dev.stamp
	$(MAKE) chaos MINUTES=10
	$(MAKE) soak MINUTES=10 FLEET=5 SHARDS=16 FAILOVER=10s
	$(MAKE) kill ROUNDS=50
	$(MAKE) sim SEEDS=2000
	$(MAKE) fuzz
	$(MAKE) coverage
	$(MAKE) kill-loader
	$(MAKE) test-browser
	$(MAKE) test-readers
	$(MAKE) test-airflow
	$(MAKE) bench-loader
	$(MAKE) test-deploy
	$(MAKE) test-package
	$(MAKE) test-image
	$(MAKE) test-upgrade
	$(MAKE) test-up

# Loaders killed at random moments, in DuckDB and in Postgres.
LOADER_ROUNDS ?= 30
kill-loader: $(VENV)/dev.stamp
	$(BIN)/python -m tests.loader.kill --rounds $(LOADER_ROUNDS)

bench-loader: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.loader

# A fleet of a released version (its tag must be there) becomes one of this version, worker by worker.
OLD ?= 0.2.0
test-upgrade: $(VENV)/dev.stamp
	$(BIN)/python -m tests.upgrade --old $(OLD)

# The queries of docs/reading.md, for every reader that can be installed.
test-readers: $(VENV)/dev.stamp
	$(PIP) -e '.[dev,readers]'
	$(BIN)/pytest -q tests/loader/test_readers.py

# The DAGs of examples/airflow in a real Airflow 3, which has an environment of its own.
AIRFLOW := .tools/airflow
$(AIRFLOW)/stamp: examples/airflow/requirements.txt | $(BIN)/python
	$(PYTHON) -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

test-airflow: $(VENV)/dev.stamp $(AIRFLOW)/stamp
	$(BIN)/python -m tests.airflow.run $(AIRFLOW)

# The catalogue's page in Debian's Chromium (apt-get install chromium), which a test drives.
test-browser: $(VENV)/dev.stamp
	$(PIP) -e '.[dev,browser]'
	$(BIN)/pytest -q tests/browser

# All that concerns fleets, with what it needs: kinesis-local for the stream, ministack for the leases.
test-fleet: $(VENV)/dev.stamp
	$(BIN)/pytest -q -n $(WORKERS) tests/contract/test_lease_table.py tests/contract/test_lease_table_races.py tests/unit/fleet tests/unit/core/fleet/test_balance.py \
		tests/integration/test_dynamodb.py tests/integration/test_fleet.py tests/integration/test_kcl.py
	$(MAKE) soak

# The steps in C against Python's, with every byte that they touch watched.
PY_INCLUDE = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)
C_FLAGS = -std=c11 -DPy_LIMITED_API=0x030B0000 -I$(PY_INCLUDE)
CHECKED_C = cc $(C_FLAGS) -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror
FUZZ_SEEDS ?= 2000
fuzz: $(VENV)/dev.stamp
	rm -rf .tools/fuzz && mkdir -p .tools/fuzz && cp -r vortex tests benchmarks .tools/fuzz
	cc $(C_FLAGS) -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -shared -fPIC native/*.c \
		-o .tools/fuzz/vortex/core/_native.abi3.so
	cd .tools/fuzz && PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
		LD_PRELOAD="$$(cc -print-file-name=libasan.so) $$(cc -print-file-name=libubsan.so)" \
		PYTHONPATH=. ../../$(BIN)/python -m tests.fuzz_native --seeds $(FUZZ_SEEDS)

SEEDS ?= 500
sim: $(VENV)/dev.stamp
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks.run

# What is made from the code: the example of the settings, their schema, the reference pages.
generated: $(VENV)/dev.stamp
	$(BIN)/python -m tools.generated

# deploy/: Go builds the tools, at the versions named here.
HELM := helm.sh/helm/v3/cmd/helm@v3.19.2
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
COMPOSE := github.com/compose-spec/compose-go/v2/cmd@v2.16.2
GO_TOOLS := .tools/bin
$(GO_TOOLS)/helm:
	GOBIN=$(CURDIR)/$(GO_TOOLS) go install $(HELM)
$(GO_TOOLS)/actionlint:
	GOBIN=$(CURDIR)/$(GO_TOOLS) go install $(ACTIONLINT)
# Compose's own loader: what `docker compose config` checks, without Docker.
$(GO_TOOLS)/compose:
	GOBIN=$(CURDIR)/$(GO_TOOLS) go install $(COMPOSE) && mv $(GO_TOOLS)/cmd $@

# Renders the chart for its examples, and deploy/kubernetes.yaml: they are kept, so that a change of the chart is read.
charts: $(VENV)/dev.stamp $(GO_TOOLS)/helm
	$(BIN)/python -m tools.charts --helm $(GO_TOOLS)/helm

test-deploy: $(VENV)/dev.stamp $(GO_TOOLS)/helm $(GO_TOOLS)/actionlint $(GO_TOOLS)/compose
	$(PIP) -e '.[dev,deploy]'
	$(BIN)/python -m tools.charts --helm $(GO_TOOLS)/helm --check
	$(GO_TOOLS)/actionlint
	$(BIN)/pytest -q tests/deploy tests/unit/test_deploy.py

# The module against the AWS provider's schema: Terraform must be installed, and reach a registry of its providers.
validate-terraform:
	terraform -chdir=deploy/terraform init -backend=false
	terraform -chdir=deploy/terraform validate

# A source distribution, a wheel from it, an environment with only that wheel, and the tests of the distribution there; then the
# same wheel with every other Python that is installed.
PACKAGE := .tools/package
CIBUILDWHEEL := 'cibuildwheel>=4,<5'
test-package:
	rm -rf $(PACKAGE) && mkdir -p $(PACKAGE)
	$(PYTHON) -m venv $(PACKAGE)/venv
	$(PACKAGE)/venv/bin/pip install --quiet --disable-pip-version-check build 'setuptools>=77' $(CIBUILDWHEEL) 'auditwheel>=6'
	$(PACKAGE)/venv/bin/python -m build --sdist --outdir $(PACKAGE) . >$(PACKAGE)/sdist.log
	mkdir $(PACKAGE)/source && tar -xf $(PACKAGE)/*.tar.gz -C $(PACKAGE)/source --strip-components=1
	VORTEX_REQUIRE_NATIVE=1 $(PACKAGE)/venv/bin/pip wheel --quiet --no-deps -w $(PACKAGE) $(PACKAGE)/source
	$(PACKAGE)/venv/bin/pip install --quiet --disable-pip-version-check -c constraints.txt "$$(ls $(CURDIR)/$(PACKAGE)/*.whl)[dev]"
	PACKAGE=$(CURDIR)/$(PACKAGE) $(PACKAGE)/venv/bin/python -m pytest -q tests/package
	rm -rf $(PACKAGE)/source/vortex $(PACKAGE)/source/vortex_loader
	cd $(PACKAGE)/source && ../venv/bin/python -m pytest -q -n $(WORKERS) tests/unit/core tests/unit/commands tests/unit/config
	$(PACKAGE)/venv/bin/python -m tests.package.pythons $(PACKAGE)

# Tests with the lowest versions of the dependencies that pyproject.toml allows, extras included, and with the newest ones.
test-lowest test-newest: test-%: | $(BIN)/python
	rm -rf .tools/$* && $(PYTHON) -m venv .tools/$*
	if [ $* = lowest ]; then PYTHONPATH=. .tools/$*/bin/python -m tools.versions lowest; fi >.tools/$*.txt
	.tools/$*/bin/pip install --quiet --disable-pip-version-check -c .tools/$*.txt -e '.[dev]'
	.tools/$*/bin/python -m pytest -q -n $(WORKERS) tests/unit tests/contract tests/loader

sdist: | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check build && $(BIN)/python -m build --sdist

# On Linux these need a container engine; every wheel is tested, see [tool.cibuildwheel] in pyproject.toml.
wheels: | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check $(CIBUILDWHEEL) && $(BIN)/cibuildwheel --output-dir dist

IMAGE ?= vortex
TAG ?= dev
PLATFORMS ?= linux/amd64,linux/arm64
# The base by its digest, as its registry says it now; a known one: make image BASE=python:3.13-slim@sha256:...
BASE ?= $(shell sed -n 's/^ARG PYTHON=//p' Dockerfile)
DIGEST = $(if $(findstring @,$(BASE)),,@$$(docker buildx imagetools inspect $(BASE) --format '{{.Manifest.Digest}}'))
IMAGE_BUILD = --build-arg PYTHON=$(BASE)$(DIGEST) --build-arg VERSION=$(TAG) --build-arg REVISION=$$(git rev-parse HEAD) -t $(IMAGE):$(TAG) .
image:
	docker build $(IMAGE_BUILD)

try-image:
	docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges $(IMAGE):$(TAG) --version

# For two architectures, with a bill of materials and provenance, signed by its digest.
push-image:
	docker buildx build --push --platform $(PLATFORMS) --sbom=true --provenance=mode=max --metadata-file .image.json $(IMAGE_BUILD)
	cosign sign --yes "$(IMAGE)@$$(python3 -c "import json; print(json.load(open('.image.json'))['containerimage.digest'])")"

# The image without a container engine: the Dockerfile's steps in a root folder, its entry point there as process 1. As root,
# with debootstrap; elsewhere it is skipped, and says why.
test-image: $(VENV)/dev.stamp
	$(BIN)/pytest -q tests/image

push-chart: $(GO_TOOLS)/helm
	printf %s "$$PASSWORD" | $(GO_TOOLS)/helm registry login "$(firstword $(subst /, ,$(REGISTRY)))" -u "$$USER_NAME" --password-stdin
	$(GO_TOOLS)/helm package deploy/helm/vortex -d dist && $(GO_TOOLS)/helm push dist/vortex-*.tgz "oci://$(REGISTRY)"

# A tag is released only where everything says the same version.
check-tag:
	python3 -m tools.versions tag $(TAG)

ROUNDS ?= 50
kill: $(VENV)/dev.stamp
	$(BIN)/python -m tests.kill --rounds $(ROUNDS)

clean:
	rm -rf $(VENV) .tools site .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
