# Works with GNU Make 3.81 and newer.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
HOME_DIR ?= .starfold
STAMP := $(VENV)/installed
# Each process has its own servers. The tests mostly wait, so that four keep two cores busy.
TEST_PROCESSES ?= 4
PARALLEL := -n $(TEST_PROCESSES) --dist worksteal

.PHONY: help install run sample test check faults bench docs openapi lock clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-16s %s\n", $$1, $$2}'

install: $(STAMP)  ## Make the virtual environment from the locked requirements

$(STAMP): requirements/all.txt pyproject.toml client/pyproject.toml
	@python=$$(sh ops/local/find-python.sh) || exit 1; \
	test -x $(BIN)/python && $(BIN)/python -c 'import pip' 2>/dev/null || { rm -rf $(VENV); "$$python" -m venv $(VENV); } || \
	  { echo "starfold: cannot make a virtual environment with $$python: on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/all.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable client --editable .
	@touch $(STAMP)

run: $(STAMP)  ## Start Starfold: embedded servers, both APIs, projector, worker, catalogue
	@exec $(BIN)/starfold up --home "$(HOME_DIR)"

sample: $(STAMP)  ## Import the MovieLens 100K ratings into the running Starfold
	@$(BIN)/python -m ops.sample --home "$(HOME_DIR)"

# Let the processes that the tests start use compiled modules, whatever the shell sets.
test check faults: export PYTHONDONTWRITEBYTECODE =

test: $(STAMP)  ## Run every test on its own real servers
	@$(BIN)/python -m pytest $(PARALLEL)

check: $(STAMP)  ## Lint, types, import contracts, tests with the coverage gates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest $(PARALLEL)
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --fail-under=85 --skip-covered
	$(BIN)/python -m coverage report --fail-under=95 --include='command_api/deciding/*,projector/projections/*'

faults: $(STAMP)  ## Kill and pause processes under load for minutes, and compare
	@$(BIN)/python -m pytest -s tests/faults

bench: $(STAMP)  ## Run the benchmarks
	@$(BIN)/python -m bench

docs: $(STAMP)  ## Build the documents as a site, build/site/index.html
	@$(BIN)/properdocs build --quiet

openapi: $(STAMP)  ## Write the OpenAPI documents, docs/openapi
	@$(BIN)/python -m tests.support.openapi_files

lock:  ## Resolve the dependencies again and lock them with hashes
	uv pip compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --only-binary :all: --extra local --extra tracing --extra dev -o requirements/all.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --only-binary :all: -c requirements/all.txt -o requirements/services.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --only-binary :all: --extra tracing -c requirements/all.txt -o requirements/traced.txt pyproject.toml

clean:  ## Remove the virtual environment and the checks' output
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache build *.egg-info .coverage*
