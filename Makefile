# Every command sets up what it needs, in .venv. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
# More for pytest: make test ARGS="-k align -x"
ARGS ?=
# How long `make soak` goes on.
MINUTES ?= 30
# Tests run in as many processes as there are cores: make test WORKERS=0 for one.
WORKERS ?= auto

BIN := $(VENV)/bin
SCRIPTS := $(wildcard examples/*.py benchmarks/*.py)
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
COVERAGE :=
CONVERSATIONS := tests/test_failure_table.py \
  $(addprefix tests/langchain/,test_chat_models.py test_tool_outputs.py agents/test_turns.py) \
  $(addprefix tests/llama_index/,test_llm.py test_tool_outputs.py agents/test_turns.py \
    agents/test_ends.py memory/test_memory.py engines/test_sessions.py)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check peer lint smoke docs format soak bench mutants lowest cassettes \
  live constraints clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo ## Run the quickstart; without a key it talks to the emulator
	@$(BIN)/python examples/quickstart.py

test: $(VENV)/.dev ## Run the tests
	@$(BIN)/python -m pytest -n $(WORKERS) $(COVERAGE) $(ARGS)

check: lint ## Everything that must pass: format, lint, types, layers, tests with coverage, the wheel
	@$(MAKE) --no-print-directory test COVERAGE="--cov --cov-report=term"
	@$(MAKE) --no-print-directory peer smoke docs

peer: $(VENV)/.dev ## Run the conversation suite on the second server, of another make
	@$(BIN)/python -m pytest -n $(WORKERS) --server=peer $(CONVERSATIONS) $(ARGS)

lint: $(VENV)/.dev ## Check format, lint, types and layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy stewrd_integrations pytest_stewrd.py tests $(SCRIPTS)
	$(BIN)/lint-imports --no-cache --no-logo

smoke: $(VENV)/.dev ## Build the wheel and try it, with each extra alone
	@$(BIN)/python tests/packaging/smoke.py

format: $(VENV)/.dev ## Format the code, and mend what the linter can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

soak: $(VENV)/.dev ## Run the machines and the chaos test with fresh seeds: make soak MINUTES=30
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

docs: $(VENV)/.dev ## Build the documentation into site/, with strict links; make docs ARGS=serve shows it
	@if [ "$(ARGS)" = serve ]; then $(BIN)/zensical serve; else $(BIN)/zensical build --clean --strict; fi
	@cp docs/*.md site/  # what llms.txt links to

bench: $(VENV)/.dev ## Measure the stores, and what the adapter costs
	@$(BIN)/python benchmarks/stores.py $(ARGS)
	@$(BIN)/python benchmarks/overhead.py $(ARGS)

mutants: $(VENV)/.dev ## Break the code in small ways: the tests must notice
	@$(BIN)/python -m tests.mutants $(ARGS)

lowest: .tools/bin/uv ## Run the tests on the lowest versions that pyproject.toml allows
	@.tools/bin/uv pip compile --quiet --no-config --all-extras --resolution lowest-direct \
	  --no-header --no-annotate pyproject.toml --output-file .tools/lowest.txt
	@$(PYTHON) -m venv --clear .venv-lowest
	@.tools/bin/uv pip install --quiet --no-config --python .venv-lowest/bin/python \
	  --constraint .tools/lowest.txt --editable ".[all]" --group test --group examples
	@.venv-lowest/bin/python -m pytest -n $(WORKERS) $(ARGS)

cassettes: $(VENV)/.dev ## Record the cassettes anew from the emulator; LIVE=1: from the live API
	@$(BIN)/python -m tests.cassettes.record $(if $(LIVE),--live) $(ARGS)

live: $(VENV)/.dev ## Ask the live API what it does, and report; says first what that costs
	@$(BIN)/python -m tests.live $(ARGS)

constraints: .tools/bin/uv ## Pin the newest versions that work together, for every Python
	.tools/bin/uv pip compile --quiet --no-config --universal --python-version 3.10 --upgrade \
	  --all-extras --group dev --no-header --no-annotate pyproject.toml --output-file constraints.txt

clean: ## Remove everything that the commands made
	rm -rf .venv* .tools dist build site .coverage .coverage.* htmlcov .hypothesis .benchmarks \
	  .mypy_cache .pytest_cache .ruff_cache .import_linter_cache live-report.md live-report.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.tools/bin/uv:
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet uv

$(VENV)/.venv:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12")'
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: $(VENV)/.venv pyproject.toml constraints.txt
	@echo "Installing what the demo needs ..."
	@$(INSTALL) --editable ".[langchain,llama-index,redis,emulator]" --group examples
	@touch $@

$(VENV)/.dev: $(VENV)/.venv pyproject.toml constraints.txt
	@echo "Installing what the checks need (a minute or two the first time) ..."
	@$(INSTALL) --editable ".[all]" --group dev
	@touch $(VENV)/.demo $@
