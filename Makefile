# Everything is started from here, on a laptop and in CI alike. `make` alone prints the targets.
# Works with GNU make 3.81 (macOS) and newer. Stamps in .make/ make the second run quick.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
PY := $(VENV)/bin/python
STAMPS := .make
export PYTHON

# The scale factor, arguments, and places that a call may set: make demo SF=0.1
SF ?= 1
DEMO_ARGS ?=
BENCH_ARGS ?=
PYTEST_ARGS ?=
INTEGRATION_JOBS ?= 3
DAFT ?= $(DAFT_SOURCE)
SECONDS ?= 300
SEED ?=
RUNS ?= 200
KILLS ?= 50
SHARD ?=
PART ?= all
RAY ?=
DIFFERENTIAL_ARGS ?=
CONFORMANCE_ARGS ?=

# --locked in CI: a lock file that does not fit is an error there, and is mended on a developer's machine.
CARGO_FLAGS := $(if $(CI),--locked,)
ifeq ($(shell uname -s),Darwin)
BUILT := target/release/lib_native.dylib
else
BUILT := target/release/lib_native.so
endif
EXTENSION := daft_k8s/_native.abi3.so

.PHONY: help
help: ## List the targets
	@echo "Targets of daft_k8s (make TARGET):"
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## /{printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "Settings: PYTHON=/path/to/python3.x (for .venv)  SF=1 (demo, bench)  PYTEST_ARGS='-k name'  DEMO_ARGS  BENCH_ARGS"

# ---------------------------------------------------------------------------------------------- seeing it work

.PHONY: demo
demo: build ## TPC-H on two local workers, every answer checked against DuckDB (SF=1)
	@$(PY) -m benchmarks.demo --scale-factor $(SF) $(DEMO_ARGS)

.PHONY: bench
bench: build ## Side by side in one run: native Daft, daft_k8s and, where installed, Daft on Ray (SF=1)
	@$(PY) -m benchmarks --scale-factor $(SF) $(BENCH_ARGS)

# ---------------------------------------------------------------------------------------------- building

.PHONY: build
build: $(STAMPS)/venv ## Build the Rust extension (release) into daft_k8s/
	@cargo build $(CARGO_FLAGS) --release -p daft_k8s_py
	@cmp -s $(BUILT) $(EXTENSION) || { cp $(BUILT) $(EXTENSION).new && mv $(EXTENSION).new $(EXTENSION); }

.PHONY: venv
venv: $(STAMPS)/venv ## Make or update .venv from requirements/dev.txt

$(STAMPS)/tools: scripts/check_tools.sh scripts/find_python.sh Cargo.toml
	@./scripts/check_tools.sh
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: $(STAMPS)/tools requirements/dev.txt daft_k8s.data/purelib/daft_k8s.pth scripts/make_venv.sh scripts/link_checkout.py
	@./scripts/make_venv.sh
	@touch $@

# A stamp without its environment is worth nothing.
ifeq ($(wildcard $(PY)),)
$(shell rm -f $(STAMPS)/venv)
endif

.PHONY: wheel
wheel: $(STAMPS)/venv ## Build a wheel for this platform into dist/
	@$(VENV)/bin/maturin build --release --out dist

# ---------------------------------------------------------------------------------------------- checking

# pytest comes last, so that its closing line is the run's; it prints what the other steps have skipped.
.PHONY: test
test: begin-skips lint-fast test-rust build ## Quick checks, then the Rust, unit, documents', local, differential and chaos tests
	@SKIPPED_CHECKS_FILE=$(STAMPS)/skipped $(PY) -m pytest $(wildcard tests/unit tests/docs tests/local tests/differential tests/chaos) $(PYTEST_ARGS)

.PHONY: begin-skips
begin-skips:
	@mkdir -p $(STAMPS) && rm -f $(STAMPS)/skipped

.PHONY: test-rust
test-rust: $(STAMPS)/tools ## Tests of the Rust crates
	@cargo test $(CARGO_FLAGS) --release --workspace --exclude daft_k8s_py --exclude daft_k8s_protogen

.PHONY: test-unit
test-unit: build ## Python tests without worker processes: seconds
	@$(PY) -m pytest tests/unit $(PYTEST_ARGS)

.PHONY: test-local
test-local: build ## Python tests with local worker processes
	@$(PY) -m pytest tests/local $(PYTEST_ARGS)

.PHONY: test-integration
test-integration: build ## Python tests on a Kubernetes cluster, and of the chart (needs helm)
	@./scripts/test_integration.sh $(INTEGRATION_JOBS) $(PYTEST_ARGS)

.PHONY: test-integration-long
test-integration-long: build ## Those that take minutes: TPC-H at scale factor 1, a replica on a lost node, ends without the API server
	@$(PY) -m pytest tests/integration -m nightly -rP -o faulthandler_timeout=1260 $(PYTEST_ARGS)

.PHONY: test-exceptions
test-exceptions: build ## Every exception in every place where users have code: 3,300 queries, 10 minutes
	@$(PY) -m pytest tests/local/test_user_exceptions.py -m nightly -rP -o faulthandler_timeout=3060 $(PYTEST_ARGS)

.PHONY: differential
differential: build ## Random pipelines here and on native Daft, for SECONDS=300 (RAY=a Python with daft[ray], to ask it too)
	@$(PY) -m tests.differential.run --seconds $(SECONDS) $(if $(RAY),--ray $(RAY)) $(DIFFERENTIAL_ARGS)

.PHONY: chaos
chaos: build ## Random pipelines whose workers meet random faults (SEED=, RUNS=200)
	@$(PY) -m tests.chaos.run --runs $(RUNS) $(if $(SEED),--seed $(SEED))

.PHONY: test-recovery
test-recovery: build ## Every shape of query with a worker killed at a random moment (SEED=, KILLS=50 of each shape)
	@$(PY) -m tests.chaos.recovery --runs $(KILLS) $(if $(SEED),--seed $(SEED))

.PHONY: conformance
conformance: build ## Daft's own tests on this runner (DAFT=a checkout of Daft, CONFORMANCE_ARGS='--tier t1 --baseline ray.tsv.xz')
	@./scripts/conformance.sh "$(DAFT)" $(CONFORMANCE_ARGS) $(PYTEST_ARGS)

.PHONY: mutation
mutation: build ## Mutation scores of the pure rooms, hours for all (SHARD=1/10 for a sample, PART=python or core)
	@./scripts/mutation.sh "$(SHARD)" $(PART)

.PHONY: versions
versions: build ## Seven queries on the oldest and newest Daft, with Python 3.10 and 3.13 (a few minutes)
	@./scripts/versions.sh

.PHONY: lint
lint: build ## Every check: ruff, mypy, stubtest, layers, documents, rustfmt, clippy, generated code, licences, workflows
	@./scripts/lint.sh full

.PHONY: lint-fast
lint-fast: $(STAMPS)/venv ## The checks that take seconds
	@./scripts/lint.sh fast

.PHONY: fuzz
fuzz: build ## Changed inputs to every decoder of foreign bytes, for SECONDS=300 in all
	@FUZZ_SECONDS=$$(($(SECONDS) / 4)) FUZZ_SEED=$$RANDOM cargo test $(CARGO_FLAGS) --quiet --release -p daft_k8s_ipc --test fuzz -- \
		--nocapture --test-threads 1
	@$(PY) -m tests.fuzz.run --seconds $$(($(SECONDS) * 3 / 4))

.PHONY: audit
audit: ## Known weaknesses of what is locked, and its licences and sources (needs cargo-deny and a network; CI runs it weekly)
	@./scripts/audit.sh

.PHONY: format
format: $(STAMPS)/venv ## Format Python and Rust, and mend what can be mended
	@$(VENV)/bin/ruff check --fix --quiet . || true
	@$(VENV)/bin/ruff format .
	@cargo fmt --all

# ---------------------------------------------------------------------------------------------- upkeep

.PHONY: protos
protos: $(STAMPS)/venv ## Generate the code of the control protocol from protos/: Rust, and Python for the tests
	@./scripts/protos.sh

.PHONY: protos-check
protos-check: $(STAMPS)/venv ## Fail where the committed generated code is out of date
	@./scripts/protos.sh check

.PHONY: docs
docs: $(STAMPS)/venv ## Write what is generated of the documents and the chart's settings, and check all documents
	@$(PY) -m daft_k8s.config.markdown > docs/configuration.md.new && mv docs/configuration.md.new docs/configuration.md
	@$(PY) scripts/cli_reference.py > docs/commands.md.new && mv docs/commands.md.new docs/commands.md
	@$(PY) scripts/chart.py
	@$(PY) scripts/check_docs.py

.PHONY: docs-site
docs-site: ## Build the documentation as a site into site/; a warning is an error
	@./scripts/docs_site.sh

.PHONY: lock
lock: $(STAMPS)/venv ## Move requirements/*.txt to the newest versions that fit (needs uv)
	@./scripts/lock.sh

.PHONY: clean
clean: ## Remove what was built, but not .venv and Rust's target/
	@rm -rf $(STAMPS) dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache $(EXTENSION)
	@find daft_k8s tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: clean-venv
clean-venv: ## Remove .venv and .venvs, to begin anew
	@rm -rf $(VENV) .venvs $(STAMPS)/venv
