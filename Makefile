# lib/bootstrap.py installs missing packages; tox does the work.
#   make qualify TOPOLOGY=single-pair       another lab from fixtures/labs, or a file
#   make qualify INVENTORY=hosts.yml        hosts of your own, no lab
#   make qualify GUEST=aarch64              guests of another architecture, emulated
#   make qualify PROFILE=openeuler-24.03    the demands on the hosts
#   make qualify ARGS="-k tls"              arguments for pytest

PYTHON ?= python3
TOX = .venv/bin/python -m tox run --quiet
RUN_ARGS = $(if $(INVENTORY),--inventory '$(INVENTORY)') $(if $(TOPOLOGY),--topology '$(TOPOLOGY)') \
	$(if $(GUEST),--guest '$(GUEST)') $(if $(PROFILE),--profile '$(PROFILE)') $(ARGS)

.PHONY: help smoke qualify test bootstrap clean
.DEFAULT_GOAL := help

help:
	@echo 'make smoke     build the lab (or take INVENTORY=file), test each requirement once, on one pair'
	@echo 'make qualify   build the lab (or take INVENTORY=file), run every suite, write the verdict'
	@echo 'make test      lint, types, selftests, and the suites on the lab: each test on one pair, no slow tests'
	@echo 'make bootstrap the first step of each: install missing packages, create .venv'
	@echo 'make clean     remove .venv, .tox, reports/out; caches and labs stay'
	@echo
	@echo 'variables: TOPOLOGY=name|file  INVENTORY=file  GUEST=aarch64  PROFILE=name|file  ARGS="pytest arguments"'
	@echo 'each target installs missing packages (apt or dnf, as root) and prints the reason for each'

smoke: bootstrap
	@$(TOX) -e smoke -- $(RUN_ARGS)

qualify: bootstrap
	@$(TOX) -e qualify -- $(RUN_ARGS)

test: override INVENTORY =
test: bootstrap
	@$(TOX) -e lint,type,selftest,lab -- $(RUN_ARGS)

bootstrap:
	@$(PYTHON) lib/bootstrap.py $(if $(INVENTORY),--no-lab) $(if $(GUEST),--guest '$(GUEST)')

clean:
	rm -rf .venv .tox reports/out
