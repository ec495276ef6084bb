# Everything runs from a bare Python 3.11 and make. Finished set-up is never repeated.
PYTHON ?= $(or $(shell command -v python3.11 || command -v python3.12 || command -v python3),python3)
VENV   := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test bench comfyui setup lint clean

help:  ## list these targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo:  ## paint backgrounds for our product photographs, or for those in PHOTOS=dir, into output/demo (or OUT=dir)
	@"$(PYTHON)" -m scripts.environment
	@$(VENV)/python -m scripts.demo $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(OUT),--out "$(OUT)")

test: lint  ## lint, type check and run every test, those inside a real ComfyUI server among them
	@echo "Running the tests:"
	@$(VENV)/python -m pytest --durations=10

bench: setup  ## what guidance and references cost a step, into docs/results/bench.json; idle machine, two hours on two cores
	@$(VENV)/python -m tests.drills.attention_overhead --record docs/results/bench.json

comfyui:  ## start ComfyUI with this pack for yourself (PORT=8188)
	@"$(PYTHON)" -m scripts.environment
	@"$(PYTHON)" -m scripts.comfyui $(if $(PORT),--port $(PORT))

setup:  ## make the environment for tests, training and rendering, and fetch ComfyUI
	@"$(PYTHON)" -m scripts.environment --tests

lint: setup  ## ruff and mypy
	@echo "Linting and type checking:"
	@$(VENV)/python -m ruff check .
	@$(VENV)/python -m mypy

clean:  ## remove what was made here: results and caches (the environment stays; remove .venv and .cache yourself)
	rm -rf output .pytest_cache .ruff_cache .mypy_cache
