# SPDX-License-Identifier: Apache-2.0
# One-liners over `python -m sim`; every one sets up first what is missing.
.DEFAULT_GOAL := all
.PHONY: all test regress regress-pr bench synth lint generate setup clean distclean help
.NOTPARALLEL:
SIM := .venv/bin/python -m sim

all: setup ## (default) set up, then every array that the real kernel wrote, and recorded programs, on the RTL
	@$(SIM) run all $(if $(SEED),--seed $(SEED)) $(if $(WAVES),--waves)

test: setup ## set up, then run the tests; TEST=file or expression, SEED=number, WAVES=1
	@$(SIM) test $(if $(TEST),'$(TEST)') $(if $(SEED),--seed $(SEED)) $(if $(WAVES),--waves)

regress: setup ## set up, then run a list of cases; TIER=smoke, pr, nightly or a file
	@$(SIM) regress $(or $(TIER),smoke) $(if $(SEED),--seed $(SEED))

regress-pr: setup ## set up, then run the list that every change must pass
	@$(SIM) regress pr $(if $(SEED),--seed $(SEED))

bench: setup ## set up, then measure the device in clock cycles against the bars of docs/performance.md
	@$(SIM) bench device

synth: setup ## set up, fetch Yosys, and write the table of docs/synthesis.md
	@$(SIM) synth --write

lint: setup ## ruff, mypy, and the RTL by Verilator and slang
	@$(SIM) lint

generate: setup ## write the files that follow from the register map and the structure data file
	@$(SIM) generate

setup: ## system packages and .venv
	@sh sim/bootstrap.sh

clean: ## remove build/
	@rm -rf build obj_dir

distclean: clean ## remove build/ and .venv/
	@rm -rf .venv

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 16
