# The front door. `make help` lists what can be asked for.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m cascadeport
export PYTHONPATH := $(CURDIR)/scripts:$(CURDIR)

# Every option of the command line has a variable; empty ones are left out.
OPTIONS = $(if $(TARGET),--target $(TARGET)) $(if $(MODEL),--model "$(MODEL)") \
  $(if $(DATA),--data "$(DATA)") $(if $(PICTURES),--pictures "$(PICTURES)") \
  $(if $(ANNOTATIONS),--annotations "$(ANNOTATIONS)") \
  $(if $(CHECKPOINT),--checkpoint "$(CHECKPOINT)") $(if $(LIMIT),--limit $(LIMIT)) \
  $(if $(RANDOM_WEIGHTS),--random-weights $(RANDOM_WEIGHTS)) \
  $(if $(PROPOSALS),--proposals $(PROPOSALS)) $(if $(NMS_LEVELS),--nms-levels $(NMS_LEVELS)) \
  $(if $(NMS_PRECISION),--nms-precision $(NMS_PRECISION)) \
  $(if $(PRECISION),--precision $(PRECISION)) \
  $(if $(ENGINE),--engine $(ENGINE)) $(if $(THREADS),--threads $(THREADS)) \
  $(if $(REPEATS),--repeats $(REPEATS)) $(if $(BUILD),--build "$(BUILD)") \
  $(if $(RESULTS),--results "$(RESULTS)") $(if $(filter-out 0,$(SIMULATE)),--simulate) \
  $(if $(filter-out 0,$(BINS)),--bins) \
  $(if $(filter-out 0,$(KEEP_GOING)),--keep-going) \
  $(if $(filter-out 0,$(KEEP_FAILED)),--keep-failed) $(if $(filter-out 0,$(DEBUG)),--debug)

.PHONY: help all plan doctor wheels pin compare test lint bench lock export-env clean
.DEFAULT_GOAL := help

help: ## list the targets of this Makefile
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

all: $(VENV)/ready ## the whole pipeline: TARGET=cpu or TARGETS="310 T4" MODEL= DATA= LIMIT= KEEP_GOING=1
	@$(RUN) all $(OPTIONS) $(if $(TARGETS),--targets "$(TARGETS)")

plan: $(VENV)/ready ## print what `make all` would do
	@$(RUN) plan $(OPTIONS)

doctor: $(VENV)/ready ## look at what TARGET= needs here, and what is missing
	@$(RUN) doctor $(OPTIONS)

wheels: $(VENV)/ready ## fetch what TARGET='s image is built from, for WHEELS=build/wheels
	@$(VENV)/bin/python -m cascadeport.engines.wheels $(TARGET)

pin: $(VENV)/ready ## write images/bases.lock: the digests of the base images, from their registries
	@$(VENV)/bin/python -m cascadeport.engines.bases

compare: $(VENV)/ready ## write the comparison of finished results again
	@$(RUN) compare $(OPTIONS)

test: $(VENV)/ready-dev ## the tests: TESTS="-k report" picks some
	@$(VENV)/bin/python -m pytest $(TESTS)

lint: $(VENV)/ready-dev ## style and types
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports

bench: $(VENV)/ready-dev ## measure, and write docs/benchmarks.md
	@$(VENV)/bin/python benchmarks/run.py

export-env: ## Python 3.7 with torch 1.7 for the export, without Docker: PYTHON37=python3.7
	@images/export/build-env .venv-export

lock: $(VENV)/ready-dev ## resolve requirements*.in into requirements*.lock
	@scripts/lock

clean: ## remove environments; build/ and results/ stay
	@rm -rf $(VENV) .venv-py37 .pytest_cache .mypy_cache .ruff_cache

# The environments. A stamp newer than its lock means that the lock is installed.
$(VENV)/bin/cascadeport: scripts/make-venv
	@scripts/make-venv "$(PYTHON)" $(VENV)

$(VENV)/ready: $(VENV)/bin/cascadeport requirements.lock
	@echo "setup    installing requirements.lock (once)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.lock
	@echo "setup    installing requirements-dev.lock (once)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@
