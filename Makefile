# `make book` builds the book, `make test` runs the tests; each makes its own environment first. `make help` lists the rest.

# Refused here, before anything is made, and before a shell sees it.
PROFILE ?= cpu
ifneq ($(words $(PROFILE)) $(filter smoke cpu recorded paper,$(PROFILE)),1 $(strip $(PROFILE)))
$(error PROFILE is '$(PROFILE)' but must be one of smoke, cpu, recorded and paper)
endif
CORES ?= all
BIN := .venv/bin

# The environment is named after what it was made from: a changed dependency makes a new one, a mere touch does not.
KEY := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
ENVIRONMENT := .venv/installed-$(KEY)

# The first Python of at least 3.11. `make PYTHON=/path/to/python` overrides it.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

# One GPU runs one notebook at a time; without one, notebooks run side by side on all cores.
GPU := $(shell nvidia-smi -L 2>/dev/null | grep -q GPU && echo --gpus 1)

.PHONY: help environment book archive bench test sync lint constraints clean distclean
.DELETE_ON_ERROR:

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*##/ -/'
	@echo "PROFILE=smoke, cpu (the default) or paper says how large the book's experiments are; PROFILE=recorded draws the"
	@echo "book from an archive of finished runs and trains nothing."

environment: $(ENVIRONMENT) ## make .venv with everything that the other targets need

$(ENVIRONMENT): | pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python of at least 3.11 was found on the PATH; this one is too old:" \
		"$$(python3 --version 2>&1). Name one with make PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version); the download takes a few minutes."
	$(PYTHON) -m venv --clear .venv
	"$(BIN)/python" -m pip install --quiet --editable ".[book,test]" --constraint constraints.txt
	@touch $@

book: $(ENVIRONMENT) ## execute the notebooks and build the book; the last line is the path of its first page
	@"$(BIN)/python" -m ncode.reproduction.publishing.build $(PROFILE) --cores $(CORES) $(GPU)

archive: $(ENVIRONMENT) ## pack the runs that the built book's pages show: what PROFILE=recorded draws them from
	@"$(BIN)/python" -m ncode.reproduction.publishing.archive $(PROFILE)

test: $(ENVIRONMENT) ## the tests, without the slow ones
	"$(BIN)/python" -m pytest -m "not slow and not browser" $(PYTEST)

bench: $(ENVIRONMENT) ## measure solves beside other libraries', with one thread and all; into results/performance.jsonl
	"$(BIN)/python" -m pip install --quiet --editable ".[bench]" --constraint constraints.txt
	for threads in one all; do "$(BIN)/python" -m benchmarks.solver --threads $$threads || exit 1; done
	"$(BIN)/python" -m benchmarks.independent
	"$(BIN)/python" -m benchmarks.solver module training block flow episode shares block-shares

sync: $(ENVIRONMENT) ## write every notebook's .ipynb, and the repository's address wherever it is needed
	"$(BIN)/python" -m ncode.reproduction.publishing.sync

lint: $(ENVIRONMENT) ## style (ruff), who may import whom (import-linter), types of the library (pyright)
	"$(BIN)/ruff" check . && "$(BIN)/ruff" format --check .
	"$(BIN)/lint-imports"
	"$(BIN)/pyright" --pythonpath "$(BIN)/python"

constraints: $(ENVIRONMENT) ## write constraints.txt anew from the newest versions that the package allows
	"$(BIN)/python" -m ncode.reproduction.publishing.constraints

clean: ## remove built books and executed notebooks; finished training runs stay
	rm -rf .snakemake _build/smoke _build/cpu _build/paper _build/recorded

distclean: clean ## remove the environment and the finished training runs, too
	rm -rf .venv _build
