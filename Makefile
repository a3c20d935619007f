# Terraform Proxmox Manager. `make run` is all a person needs; `make help` lists the rest.

PYTHON ?= python3
PY := .venv/bin/python
PYTEST_ARGS ?=

ROUNDS ?= 40
RABBITMQ_ROUNDS ?= 12
SEED ?=
CHAOS_ARGS ?=

.PHONY: help run setup setup-dev test test-rabbitmq lint bench chaos screenshots lock clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

run: setup ## set everything up and start everything; Ctrl-C stops it
	@exec $(PY) run.py

setup: ## virtual environment, packages, browser assets, Terraform, provider
	@$(PYTHON) bootstrap.py

setup-dev: ## the same with what tests and checks need
	@$(PYTHON) bootstrap.py --dev

test: setup-dev ## checks and all tests; the browser's where a Chromium is found
	@$(PY) -m scripts.check test $(PYTEST_ARGS)

lint: setup-dev ## ruff, mypy, import-linter, templates
	@$(PY) -m scripts.check lint

bench: setup-dev ## figures, with no judgement
	@$(PY) -m tests.bench

test-rabbitmq: setup-dev ## the brokers' tests and a short run of chaos on RabbitMQ; installs Debian's when it may
	@test -x /usr/lib/rabbitmq/bin/rabbitmq-server || { [ "$$(id -u)" = 0 ] && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends rabbitmq-server >/dev/null; } \
	  || { echo "RabbitMQ is needed: install Debian's rabbitmq-server"; exit 1; }
	@REQUIRE_RABBITMQ=1 $(PY) -m pytest -q tests/brokers $(PYTEST_ARGS)
	@$(PY) -m tests.chaos --rabbitmq --rounds $(RABBITMQ_ROUNDS) $(if $(SEED),--seed $(SEED))

chaos: setup-dev ## faults in the middle of everything, then what must be true: ROUNDS=40 SEED=7 CHAOS_ARGS='--json FILE'
	@$(PY) -m tests.chaos --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED)) $(CHAOS_ARGS)

screenshots: setup-dev ## the README's pictures into docs/screenshots, every page in every look into pictures
	@$(PY) -m scripts.screenshots
	@$(PY) -m scripts.matrix

lock: setup-dev ## compile requirements*.in into requirements*.txt
	@$(PY) -m pip install -q uv
	@for set in "" -simulator -dev -terraform -go -node; do \
	  .venv/bin/uv pip compile -q --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
	    --no-header --no-annotate -o requirements$$set.txt requirements$$set.in || exit 1; done

clean: ## remove everything that set-up made, but no data (var/)
	rm -rf .venv .tools node_modules app/static/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find app/translations -name '*.mo' -delete 2>/dev/null || true
