# Every target first creates .venv from requirements.lock, if it is missing or older than the lock.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
POOL ?= cpu-pool
LIMIT ?= $(if $(filter gpu-pool,$(POOL)),1)
unexport PYTHONDONTWRITEBYTECODE  # or every stage would compile its modules again

# Three processes of tests keep two processors at work while some wait for a server or a worker; long files come first.
SIDE_BY_SIDE = -n 3 --no-loadscope-reorder

SHAPED = advice/model_selection classifier engines evaluation export generation sequences serving stages training

EXAMPLES = $(filter-out defaults,$(basename $(notdir $(wildcard examples/*.yaml))))

.PHONY: help run example server worker deploy test shapes slow endurance faults check format bench peers lock

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: .venv/.installed  ## bring the whole pipeline up to date and show the results
	@python -m flows --allow-dirty --summary  # who calls make knows what they have changed

example: .venv/.installed  ## run an example in a clone of its own: make example NAME=gun_point
	@test -f "examples/$(NAME).yaml" || { echo "make example NAME=…, one of: $(EXAMPLES)" >&2; exit 2; }
	@rm -rf .rnnflow/examples/$(NAME)
	@# This folder may be a part of a larger repository.
	@git clone --quiet "$$(git rev-parse --show-toplevel)" .rnnflow/examples/$(NAME)
	@cd ".rnnflow/examples/$(NAME)/$$(git rev-parse --show-prefix)" && cp '$(CURDIR)/examples/$(NAME).yaml' params.yaml \
		&& dvc cache dir --quiet --local '$(CURDIR)/.dvc/cache' && rnnflow check \
		&& python -m flows --allow-dirty --summary && echo "everything it made is in $$PWD"

server worker deploy: export PREFECT_API_URL ?= http://127.0.0.1:4200/api

server: .venv/.installed  ## start a Prefect server on this machine
	@python -m flows.server

worker: .venv/.installed  ## start a worker: make worker POOL=cpu-pool
	@python -m flows.worker $(POOL) $(if $(LIMIT),--limit $(LIMIT))

deploy: .venv/.installed  ## update the server to match prefect.yaml
	@python -m flows.deploy

test: .venv/.installed  ## run the tests
	@rnnflow warmup  # once, not in each test process
	@pytest $(SIDE_BY_SIDE)

shapes: .venv/.installed  ## run the library's tests again with the shape and type of every argument checked, which doubles their time
	@pytest $(SIDE_BY_SIDE) --jaxtyping-packages=rnnflow,stages,beartype.beartype $(addprefix tests/,$(SHAPED))

slow: .venv/.installed  ## run the long proofs, which `make test` leaves out
	@rnnflow warmup
	@pytest -m "slow and not endurance" $(SIDE_BY_SIDE)

endurance: .venv/.installed  ## kill, cancel and starve real runs for an hour or so, and measure
	@pytest -m endurance -s

faults: .venv/.installed  ## damage, flip, kill and end by a seed, and write docs/reliability.md
	@rnnflow warmup
	@python -m tests.faults --write docs/reliability.md

check: .venv/.installed  ## check format, lint, types, and the contract between dvc.yaml, stages and params
	@ruff format --check .
	@ruff check .
	@mypy
	@pytest -q tests/test_contract.py

format: .venv/.installed  ## rewrite the code in the project's format
	@ruff format .
	@ruff check --fix .

bench: .venv/.installed  ## measure speed and accuracy beside other libraries
	@python -m benchmarks

peers: .rnnflow/peers/.installed  ## install the libraries that `make bench` compares with, in an environment of their own

lock: .venv/.installed  ## resolve pyproject.toml and benchmarks/requirements.in again
	@pip-compile --all-extras --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
		--annotation-style=line --quiet --upgrade --output-file requirements.lock pyproject.toml
	@sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' requirements.lock  # the build for the machine is pip's choice
	@# The same versions with the hashes of every file on PyPI, and what PyTorch's build for GPUs needs besides; pip-compile
	@# would fetch each file for that.
	@$(PYTHON) -m venv .rnnflow/uv && .rnnflow/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
	@.rnnflow/uv/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-header --no-annotate --default-index https://pypi.org/simple --upgrade \
		--constraint requirements.lock --output-file requirements.hashes pyproject.toml
	@pip-compile --strip-extras --no-header --no-emit-index-url --no-emit-find-links \
		--annotation-style=line --quiet --upgrade --output-file benchmarks/requirements.txt benchmarks/requirements.in
	@sed -i 's/^\(torch==[0-9.]*\)+cpu/\1/' benchmarks/requirements.txt

.venv/.installed: requirements.lock pyproject.toml rnnflow/export/version.py
	@echo "making .venv from requirements.lock, which takes some minutes the first time"
	@$(PYTHON) -m venv .venv
	@# pip compiles on one processor, which is more than a third of its time.
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@$(BIN)/python -m compileall -qq -j 0 .venv || true  # some packages bring templates that are no Python
	@touch $@

.rnnflow/peers/.installed: benchmarks/requirements.txt
	@echo "making .rnnflow/peers from benchmarks/requirements.txt, which takes some minutes the first time"
	@$(PYTHON) -m venv .rnnflow/peers
	@.rnnflow/peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@
