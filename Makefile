# Every target creates .venv if necessary, and updates it when one of the files that describe it changes.
PYTHON ?= $(shell command -v python3 || command -v python3.11)
BIN    := .venv/bin
READY  := .venv/.ready

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1 - /p' Makefile

setup: $(READY) ## create .venv with the versions in constraints.txt

# pip installs uv, since pip knows the configured package index; uv then installs the rest in a fraction of pip's time
$(READY): settings.ini constraints.txt setup.py pyproject.toml
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q -c constraints.txt uv; }
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## train a junior alone and with a senior on the built-in scenes, compare them, and draw the pictures
	$(BIN)/segkc demo

# Runs the test functions of nbdev and pytest in forks of one process that has imported everything, and prints the 40
# slowest. Tests of response times run last and alone. `nbdev-test` and `pytest -m 'not slow'` do the same one by one.
test: $(READY) same browser ## check style and export, run all notebooks and all tests but those in tests/slow.txt
	$(BIN)/chkstyle nbs segkc_fastai tests .ci setup.py
	$(BIN)/python .ci/test.py $(ALL)

test-all: ALL := --all
test-all: test ## the same, with the slow tests

# The viewers are tested in a real browser. If none is found or can be installed, those tests are skipped.
browser: ## install Chromium for the tests of the viewers, if possible
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { test "$$(id -u)" = 0 && command -v apt-get && \
	 { apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 update; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }; } || echo 'Chromium is missing and could not be installed: the tests of the viewers will be skipped.'

quick: $(READY) ## check one notebook and the tests of its module in under a minute: make quick NB=nbs/01_core/01_task.ipynb
	@$(BIN)/python .ci/quick.py '$(NB)'

# Works on a copy, so it changes nothing and accepts uncommitted changes
same: $(READY) ## check that nbdev-export and nbdev-clean change nothing
	@rm -rf build/same && mkdir -p build/same && cp -r nbs segkc_fastai pyproject.toml build/same
	@cd build/same && ../../$(BIN)/nbdev-export && ../../$(BIN)/nbdev-clean
	@for d in nbs segkc_fastai; do diff -rq -x __pycache__ -x .ipynb_checkpoints $$d build/same/$$d || bad=1; done; \
	 test -z "$$bad" || { echo 'Run nbdev-export and nbdev-clean, and commit what they change.'; exit 1; }

lab: $(READY) ## open the tutorials in JupyterLab, for connections from this machine only
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/nbs/tutorials

# nbdev's own commands would download a missing quarto
docs: $(READY) ## build the documentation in _docs, with quarto if it is installed
	if command -v quarto; then $(BIN)/python .ci/docs.py sidebar && $(BIN)/python .ci/docs.py llms && PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nbdev-docs && \
	 test -s _docs/llms.txt; \
	else $(BIN)/python .ci/docs.py site; fi

readme: $(READY) ## write the tables of nbs/results into the notebooks, and README.md from nbs/index.ipynb
	$(BIN)/python .ci/docs.py tables
	$(BIN)/python .ci/docs.py readme

shape: $(READY) ## compare the notebooks with fastcore's: lines, examples, assertions, prose
	@$(BIN)/python .ci/shape.py $(NB)

bench: $(READY) ## time each method against a hand-written loop, metrics, loading, the probe recorder, ONNX against PyTorch
	$(BIN)/python tests/bench.py

# Two processes divide the runs, each with half of the cores; run again, they resume. Arguments: command, name of the log
define beside
@mkdir -p runs; export OMP_NUM_THREADS=$$(( ($$(getconf _NPROCESSORS_ONLN)+1)/2 )); \
run='$(1)'; \
$$run > runs/$(2)-beside.log 2>&1 & trap "kill $$!" INT TERM; $$run; code=$$?; wait; exit $$code
endef

compare: $(READY) ## train all methods on the built-in scenes with three seeds: table and figures, about an hour on two cores
	$(call beside,$(BIN)/segkc compare --recipe scenes --data data/scenes --out runs/comparison,comparison)

evidence: $(READY) ## train the methods on real images with three seeds, into nbs/results; many hours on two cores
	$(call beside,$(BIN)/python tests/evidence.py,evidence)

soak: export OMP_NUM_THREADS = 1
soak: $(READY) ## kill runs at 20 random moments and suspend others, finish them and check that they are bit-identical (under 10 minutes); then a long run of two processes
	$(BIN)/python -W ignore tests/soak.py
	SEGKC_SOAK=1 $(BIN)/pytest -q tests/test_distributed.py::test_processes_agree_after_many_steps

dist: $(READY) ## build wheel and sdist in dist/
	$(BIN)/python -m build

clean: ## remove build products; keep .venv, data and runs
	rm -rf build dist _proc _docs .pytest_cache *.egg-info
	find nbs segkc_fastai tests -name __pycache__ -prune -exec rm -r {} +

.PHONY: help setup demo test test-all browser quick same lab docs readme shape bench compare evidence soak dist clean
