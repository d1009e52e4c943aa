# The front door. `make help` lists the targets.
#
# Values of variables are data: they reach the program as environment variables, written as they
# were given. No recipe has one in its text, where a shell would read it, and none is expanded by
# make, which would run $(shell ...) in it.

include scripts/options.mk

PYTHON ?= python3
VENV ?= .venv
override VENV := $(value VENV)
RUN = CASCADEPORT_DOOR=make $(VENV)/bin/python scripts/cascadeport

# MODEL becomes CASCADEPORT_MODEL: a MODEL in somebody's shell must not mean anything to compose
# files. An environment variable such as WHEELS keeps its name.
$(foreach name,$(OPTIONS),$(eval override export CASCADEPORT_$(name) := $$(value $(name)))$(eval unexport $(name)))
$(foreach name,$(VARIABLES),$(if $(value $(name)),$(eval override export $(name) := $$(value $(name)))))
# What was written on make's command line, so that a mistyped name is not ignored.
given = $(if $(filter command,$(firstword $(origin $(1)))),$(1))
override export CASCADEPORT_GIVEN := $(strip $(foreach name,$(.VARIABLES),$(call given,$(name))))
$(foreach name,$(filter-out $(OPTIONS) $(VARIABLES),$(CASCADEPORT_GIVEN)),$(eval unexport $(name)))

.PHONY: help all plan doctor compare history explain tune attest verify freeze manifests wheels install pin docs schemas test lint bench lock export-env clean fuzz report-problem
.DEFAULT_GOAL := help

help: ## list the targets of this Makefile
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

all: $(VENV)/ready ## the whole pipeline: TARGET=cpu or TARGETS="310 T4" MODEL= DATA= LIMIT= KEEP_GOING=1
	@$(RUN) all

plan: $(VENV)/ready ## print what `make all` would do
	@$(RUN) plan

doctor: $(VENV)/ready ## look at what TARGET= needs here, and what is missing
	@$(RUN) doctor

report-problem: $(VENV)/ready ## pack doctor, logs, versions and plan into one file, without secrets or pictures
	@$(RUN) report-problem

compare: $(VENV)/ready ## write the comparison of finished results again
	@$(RUN) compare

explain: $(VENV)/ready ## say where two rows begin to differ, and why: A=cpu B=310P3 PICTURE= ABLATE=
	@$(RUN) explain

tune: $(VENV)/ready ## search the fastest recipe that is accurate enough: TARGET= BUDGET=0.5
	@$(RUN) tune

attest: $(VENV)/ready ## sign a statement about a finished result: KEY=~/.ssh/id_ed25519 TARGET=
	@$(RUN) attest

verify: $(VENV)/ready ## check what was signed, and compute it again: KEY=key.pub TARGET=, or FOLDER=
	@$(RUN) verify

freeze: $(VENV)/ready ## freeze a finished run into dist/: TARGET= KEY=~/.ssh/id_ed25519 SINCE= PART_SIZE=4G FORCE=1
	@$(RUN) freeze

manifests: $(VENV)/ready ## write a frozen image's manifests for Kubernetes: TARGET= SHARDS= REPLICAS=1-4 IMAGE= NAMESPACE=
	@$(RUN) manifests

history: $(VENV)/ready ## list the runs that are kept, for `make compare AGAINST=`
	@$(RUN) history

quantise: $(VENV)/ready ## make an int8 network for TARGET=, or the input of its vendor's tool: CALIBRATION=folder
	@$(RUN) quantise

wheels: $(VENV)/ready ## download what TARGET='s image is built from, for WHEELS=build/wheels
	@$(RUN) wheels

install: $(VENV)/ready ## install what TARGET= needs on this machine besides requirements.lock
	@$(RUN) install

pin: $(VENV)/ready ## write images/bases.lock: the digests of the base images, from their registries
	@$(RUN) pin

docs: $(VENV)/ready ## write what is generated: docs/command-line.md, docs/schemas, lists in docs/, scripts/options.mk
	@$(RUN) docs
	@$(VENV)/bin/python scripts/dockerfiles
	@$(VENV)/bin/python scripts/architecture

schemas: $(VENV)/ready ## write docs/schemas again
	@$(RUN) schemas

test: $(VENV)/ready-dev ## the tests: TESTS="-k report" picks some
	@PYTEST_ADDOPTS="$$TESTS" $(VENV)/bin/python -m pytest

fuzz: $(VENV)/ready-dev ## attack every reader at random: FUZZ_SECONDS=600 FUZZ_SEED=
	@PYTHONPATH=scripts:. $(VENV)/bin/python -m tests.fuzz

lint: $(VENV)/ready-dev ## style and types
	@$(VENV)/bin/python -m ruff check . && $(VENV)/bin/python -m ruff format --check . && $(VENV)/bin/python -m mypy && \
	  PYTHONPATH=scripts:. $(VENV)/bin/python $(VENV)/bin/lint-imports --no-logo

bench: $(VENV)/ready-dev ## measure, and write docs/benchmarks.md
	@$(VENV)/bin/python benchmarks/run.py

export-env: ## Python 3.7 with torch 1.7 for the export, without Docker: PYTHON37=python3.7
	@images/export/build-env .venv-export

lock: $(VENV)/ready-dev ## resolve requirements*.in into requirements*.lock
	@scripts/lock

clean: ## remove environments; build/ and results/ stay
	@rm -rf $(VENV) .venv-py37 .venv-ray .pytest_cache .mypy_cache .ruff_cache

# The environments. A stamp newer than its lock means that the lock is installed.
$(VENV)/bin/cascadeport: scripts/make-venv
	@scripts/make-venv "$$PYTHON" $(VENV)

$(VENV)/ready: $(VENV)/bin/cascadeport requirements.lock
	@echo "setup    installing requirements.lock (once)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.lock
	@echo "setup    installing requirements-dev.lock (once)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
