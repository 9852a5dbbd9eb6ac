# One task runner.  Every target that needs it makes .venv first.
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 1000
KILLS ?= 25
FAULTS ?= 10
INPUTS ?= 20000
SEED ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-core test-kafka test-web check proof simulate simulate-mutants torture torture-kafka fuzz soak bench bench-kafka bench-web screenshots lock clean

help: ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: pyproject.toml .ci/requirements.lock
	@echo "Setting up .venv (one or two minutes) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "quota-stream needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -m venv .venv
	@echo "Installing the locked dependencies ..."
	@$(BIN)/pip install --quiet --require-hashes --requirement .ci/requirements.lock
	@echo "Installing quota-stream ..."
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "Ready: .venv/bin/quota-stream"

demo: .venv/ready ## The whole line on this machine, faster than time, with an audit at the end
	@$(BIN)/quota-stream demo

test: test-core test-kafka test-web ## All tests

test-core: .venv/ready ## The tests that need Python only
	@$(BIN)/pytest -n 2 --dist worksteal --ignore tests/kafka --ignore tests/web --ignore tests/observability tests

.kafka/ready: tests/kafka/pom.xml tests/kafka/fetch.py | .venv/ready
	@$(BIN)/python -m tests.kafka.fetch
	@$(BIN)/python -m tests.kafka.warm
	@touch $@

test-kafka: .venv/ready .kafka/ready ## The tests with a real Kafka, which is fetched once; needs Java 17 and Maven
	@$(BIN)/pytest -n 2 --dist loadfile tests/kafka

.web/ready: tests/web/install.py | .venv/ready
	@$(BIN)/python -m tests.web.install
	@mkdir -p $(@D) && touch $@

test-web: .venv/ready .web/ready ## The tests with a real browser, PHP and Prometheus; as root it installs them, with apt-get
	@$(BIN)/pytest -n 2 --dist loadfile tests/web tests/observability

check: .venv/ready ## What CI does: format, lint, types, all tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(MAKE) --no-print-directory test

proof: ## What CI does besides: simulate, simulate-mutants, torture, torture-kafka, fuzz
	@$(MAKE) --no-print-directory simulate
	@$(MAKE) --no-print-directory simulate-mutants
	@$(MAKE) --no-print-directory torture
	@$(MAKE) --no-print-directory torture-kafka
	@$(MAKE) --no-print-directory fuzz

simulate: .venv/ready ## Seeded worlds in which everything fails, audited to the byte (SEEDS=1000, or SEEDS=4711-4720)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

simulate-mutants: .venv/ready ## The same worlds must find each deliberate bug
	@$(BIN)/python -m tests.simulation.mutants

torture: .venv/ready ## SIGKILL and worse for the real processes, then an audit (KILLS=25)
	@$(BIN)/python -m tests.torture --kills $(KILLS)

torture-kafka: .venv/ready .kafka/ready ## The same on three brokers, and for the brokers as well (FAULTS=10)
	@$(BIN)/python -m tests.torture_kafka --faults $(FAULTS)

fuzz: .venv/ready ## Spoiled bytes for whatever reads foreign ones (INPUTS=20000 SEED=1)
	@$(BIN)/python -m tests.fuzz --inputs $(INPUTS) --seed $(SEED)

soak: .venv/ready ## 30 days of 5,000 services, 7 days of 50 VMs over HTTP: memory, file size, restarts
	@$(BIN)/python -m tests.soak days
	@$(BIN)/python -m tests.soak http

bench: .venv/ready ## Measure: ratios, side by side in one run
	@$(BIN)/python -m tests.bench

.kafka/peers/ready: tests/bench/kafka/contenders.py tests/bench/peers/streams/pom.xml $(wildcard tests/bench/peers/streams/src/main/java/peer/*) | .venv/ready
	@$(BIN)/python -m tests.bench.kafka.contenders

bench-kafka: .venv/ready .kafka/ready .kafka/peers/ready ## The same on Kafka, beside Kafka Streams and others (CASES="batches singles scaling")
	@$(BIN)/python -m tests.bench.kafka $(addprefix --case ,$(CASES))

bench-web: .venv/ready ## A million services beside a running tracker: memory, and times of pages and searches
	@$(BIN)/python -m tests.bench.web

screenshots: .venv/ready .web/ready ## The README's pictures, from a whole installation in a real browser
	@$(BIN)/python -m tests.web.screenshots .pictures

lock: .venv/ready ## Renew the locked dependencies
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--extra dev pyproject.toml --output-file .ci/requirements.lock

clean: ## Remove what the other targets made
	@rm -rf .venv .kafka .web build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
