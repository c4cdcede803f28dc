# Songbook: the verbs. Each needs nothing but Python >= 3.11, and installs into .venv what it lacks.

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help install run test check demo migration lock bench clean

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile
