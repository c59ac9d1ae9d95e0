# `make demo` and `make test` do everything on a fresh machine: they install into .venv first.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test test-all check format bench bench-tabular bench-speed bench-imagenet bench-million docs clean

.venv/base: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

.venv/dev: .venv/base
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,torch]'
	touch $@

.venv/bench: .venv/dev
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[bench]'
	touch $@

.venv/all: .venv/dev
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,torch,ray]'
	touch $@

demo: .venv/base            ## build a pool from bundled images, compare strategies, write a report
	$(BIN)/poolwise demo

test: .venv/dev             ## the tests that every change must pass, in under 20 minutes on 2 cores
	$(PYTEST) -n 2

test-all: .venv/all         ## all tests, also slow ones; GPU tests skip without a GPU
	$(PYTEST) -m ''

check: .venv/dev            ## format, lint, types, direction of imports
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/check

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-tabular: .venv/dev    ## the tabular benchmark beside its published numbers, in under 60 minutes on 2 cores
	$(BIN)/python -m benchmarks.tabular

bench-speed: .venv/bench    ## time and memory beside public packages, in about 20 minutes on 2 cores
	$(BIN)/python -m benchmarks.speed

bench-imagenet: .venv/base  ## 10,000 of 1.28 million rows by five strategies; needs 6 GB of disk for a while
	$(BIN)/python -m benchmarks.speed.imagenet

bench-million: .venv/base   ## batches of a million rows by the strategies that have a limit; 1.5 GB of disk
	$(BIN)/python -m benchmarks.speed.million

clean:
	rm -rf .venv demo-out

docs: .venv/dev             ## write the reference pages from the registries
	$(BIN)/python scripts/make_reference.py
