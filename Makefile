# make demo and make test are all a newcomer needs; make help lists the rest.
PYTHON ?= python3
SEED ?= 7
# Asked for by itself and pinned, torch's CPU wheel is taken where one is configured; a range would bring CUDA's gigabytes.
# Where none is: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test
TORCH ?= torch==2.13.0
TORCHVISION ?= torchvision==0.28.0
TRAIN_OUT ?= runs/nadir-512
ORTHOPHOTOS ?=
LIGHT := .venv/.installed
DEV := .venv-dev/.installed
PIP_QUIET := --quiet --disable-pip-version-check

.PHONY: help demo test check bench train ablations weights clean
help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(LIGHT) ## fly a synthetic region without GNSS, from map to MAVLink (SEED=7)
	.venv/bin/pilotage demo --out demo --seed $(SEED)

test: $(DEV) ## run every test that needs no accelerator
	.venv-dev/bin/pytest

check: $(DEV) ## ruff, mypy --strict and the layering rules
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/mypy
	.venv-dev/bin/pytest -q --no-header tests/sdk/test_layering.py

bench: $(LIGHT) ## time every stage of a frame here and write benchmarks/results/frame.json
	.venv/bin/python benchmarks/frame.py --json benchmarks/results/frame.json

train: $(DEV) ## train nadir-512 in about 75 minutes (ORTHOPHOTOS=folder of 0.2 m/px pictures)
	.venv-dev/bin/pilotage-train run nadir-512 --out $(TRAIN_OUT) --workers 1 $(if $(ORTHOPHOTOS),--data $(ORTHOPHOTOS))

ablations: $(DEV) ## repeat the papers' ablations on the synthetic world: about an hour on two cores
	.venv-dev/bin/python benchmarks/ablations.py --out runs/ablations --json benchmarks/results/ablations.json
	.venv-dev/bin/python benchmarks/ablation_picture.py

weights: $(DEV) ## export TRAIN_OUT as the shipped weights and measure them into the model card
	.venv-dev/bin/pilotage-export ship $(TRAIN_OUT)/nadir-512.pt --log $(TRAIN_OUT)/log.csv \
		$(if $(ORTHOPHOTOS),--orthophotos $(ORTHOPHOTOS)) \
		$(if $(PILOTAGE_REAL_DATA),--real-data $(PILOTAGE_REAL_DATA))

clean: ## remove what demo and the tools wrote; environments stay
	rm -rf demo dist build .mypy_cache .ruff_cache .pytest_cache

$(LIGHT): pyproject.toml
	@echo "installing the light runtime into .venv (hnswlib compiles from source: this takes a C++ compiler and a minute)"
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install $(PIP_QUIET) -e .
	@touch $@

$(DEV): pyproject.toml
	@echo "installing what the tests need into .venv-dev (about 1.5 GB with torch: a few minutes)"
	@.venv-dev/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv-dev
	@.venv-dev/bin/python -m pip install $(PIP_QUIET) "$(TORCH)"
	@.venv-dev/bin/python -m pip install $(PIP_QUIET) "$(TORCHVISION)" -e ".[export,maps]" ruff mypy pytest pytest-timeout
	@touch $@
