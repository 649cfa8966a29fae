# SPDX-License-Identifier: GPL-2.0
# What people type. Every target does all set-up that it needs by itself: packages of this machine, toolchain root, kernel
# source, each made once and kept in $XDG_CACHE_HOME/banyan. The kernel build reads Kbuild, not this file.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
P := scripts/platform

.DEFAULT_GOAL := help
.PHONY: help demo test test-full modules tool install cluster bench simulate lint doc deb clean distclean format

# Needs names, in words, a file that another part of the tree brings.
needs = @test -e $(1) || { echo "banyan: FAILED: $(1) is not in this tree" >&2; exit 1; }

help:
	@echo 'make demo       build everything, boot a small cluster and show programs moving'
	@echo 'make test       all kinds of tests, in at most 30 minutes'
	@echo 'make test-full  every test; writes docs/test-report.md'
	@echo 'make modules    the kernel modules, in build/modules'
	@echo 'make tool       the control tool, build/banyanctl'
	@echo 'make install    modules, tool and service files under DESTDIR'
	@echo 'make cluster    build everything and boot a cluster (NODES=2); then: scripts/cluster --help'
	@echo 'make bench      measure; writes build/bench.json and docs/benchmarks.md'
	@echo 'make simulate   the scheduler on simulated clusters; writes build/simulate.json (ARGS=--help)'
	@echo 'make lint       rustfmt, clippy, unsafe boundary, shellcheck, flake8, docs'
	@echo 'make format     put all Rust files into the form that lint wants'
	@echo 'make doc        HTML of the crates, in build/doc; regenerates docs/what-moves.md'
	@echo 'make deb        Debian package, in build/deb'
	@echo 'make clean      remove build/'
	@echo 'make distclean  remove build/ and what the platform scripts keep in the cache'

modules:
	@$(P)/host
	@$(P)/modules

tool:
	@$(P)/host
	@$(P)/tool

install: modules tool
	@$(P)/install "$(DESTDIR)"

NODES ?= 2
cluster: modules tool
	$(call needs,scripts/cluster)
	@$(P)/in-root scripts/cluster up --nodes $(NODES)

demo: modules tool
	$(call needs,scripts/demo)
	@$(P)/in-root scripts/demo

test: modules tool
	@$(P)/test

test-full: modules tool
	@$(P)/test --full

bench: modules tool
	$(call needs,tests/bench/run)
	@$(P)/in-root tests/bench/run

# ARGS: options of the simulator.
simulate:
	@$(P)/host
	@$(P)/simulate $(ARGS)

lint:
	@$(P)/host
	@$(P)/lint

format:
	@$(P)/host
	@$(P)/lint --fix rustfmt

doc:
	@$(P)/host
	@$(P)/doc

deb: modules tool
	@$(P)/deb

clean:
	@rm -rf build

distclean: clean
	@$(P)/distclean
