# Every target sets up .venv by itself and reuses it until one of the files that describe it changes.
PYTHON ?= $(shell command -v python3 || command -v python3.11)
BIN    := .venv/bin
READY  := .venv/.ready

help: ## print this list
	@sed -n 's/^\([a-z]*\):.*## /make \1 - /p' Makefile

setup: $(READY) ## set up .venv with the versions of constraints.txt

# uv comes through pip, which knows the index this machine uses; uv then installs the rest in a fraction of pip's time
$(READY): settings.ini constraints.txt setup.py pyproject.toml
	test -x $(BIN)/uv || { $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q -c constraints.txt uv; }
	$(BIN)/uv pip install --python $(BIN)/python -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## train a senior and a junior on the built-in scenes, compare with labelled-only, make the pictures
	$(BIN)/segkc demo

# nbdev's and pytest's own runs, in copies of one process that has imported everything; prints the 40 slowest. The browser comes last and alone, because its tests
# measure how long one waits. `nbdev-test` and `pytest tests` do the same one by one
test: $(READY) same browser ## style, notebooks and library in step, all notebooks executed, tests
	$(BIN)/chkstyle nbs segkc_fastai tests .ci setup.py
	$(BIN)/python .ci/test.py

# The viewers are tested in a real browser; where there is none and none can be installed, those tests skip and say so
browser: ## install Chromium for the tests of the viewers, where that can be done
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { test "$$(id -u)" = 0 && command -v apt-get && \
	 { apt-get -qq -o Acquire::Retries=1 -o Acquire::http::Timeout=20 update; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }; } || echo 'No Chromium, and none could be installed: the tests of the viewers will be skipped.'

quick: $(READY) ## check one notebook and the tests of its module in under a minute: make quick NB=nbs/01_core/01_task.ipynb
	@$(BIN)/python .ci/quick.py '$(NB)'

# On a copy, so that it also works while something is uncommitted, and changes nothing
same: $(READY) ## check that nbdev-export and nbdev-clean would change nothing
	@rm -rf build/same && mkdir -p build/same && cp -r nbs segkc_fastai pyproject.toml build/same
	@cd build/same && ../../$(BIN)/nbdev-export && ../../$(BIN)/nbdev-clean
	@for d in nbs segkc_fastai; do diff -rq -x __pycache__ -x .ipynb_checkpoints $$d build/same/$$d || bad=1; done; \
	 test -z "$$bad" || { echo 'Run nbdev-export and nbdev-clean, and commit what they change.'; exit 1; }

lab: $(READY) ## JupyterLab on this machine only, with the tutorials open
	$(BIN)/jupyter lab --ServerApp.ip=127.0.0.1 --LabApp.default_url=/lab/tree/nbs/tutorials

# nbdev's own commands would download quarto where it is missing
docs: $(READY) ## the documentation in _docs, by quarto where there is one
	if command -v quarto; then $(BIN)/python .ci/docs.py sidebar && $(BIN)/python .ci/docs.py llms && PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nbdev-docs && \
	 test -s _docs/llms.txt; \
	else $(BIN)/python .ci/docs.py site; fi

readme: $(READY) ## tables of results from nbs/results, in all notebooks, and README.md from nbs/index.ipynb
	$(BIN)/python .ci/docs.py tables
	$(BIN)/python .ci/docs.py readme

shape: $(READY) ## measure the notebooks beside fastcore's: lines, examples, assertions, prose
	$(BIN)/python .ci/shape.py

bench: $(READY) ## a step of each method beside a hand-written loop, metrics, loading, the probe recorder, ONNX beside PyTorch
	$(BIN)/python tests/bench.py

# Two processes divide the runs, each with half of the cores; started again, they go on
compare: $(READY) ## all methods on the built-in scenes, three seeds: table and figures, under an hour on two cores
	@mkdir -p runs; export OMP_NUM_THREADS=$$(( ($$(getconf _NPROCESSORS_ONLN)+1)/2 )); \
	run='$(BIN)/segkc compare --recipe scenes --data data/scenes --out runs/comparison'; \
	$$run > runs/comparison-beside.log 2>&1 & trap "kill $$!" INT TERM; $$run; code=$$?; wait; exit $$code

soak: export OMP_NUM_THREADS = 1
soak: $(READY) ## kill runs at 20 random moments and finish them: the same bit for bit, in under 10 minutes; then two processes over many more steps
	$(BIN)/python -W ignore tests/soak.py
	SEGKC_SOAK=1 $(BIN)/pytest -q tests/test_distributed.py::test_after_many_steps_all_is_equal

dist: $(READY) ## wheel and sdist in dist/
	$(BIN)/python -m build

clean: ## remove what was built; .venv, data and runs stay
	rm -rf build dist _proc _docs .pytest_cache *.egg-info
	find nbs segkc_fastai tests -name __pycache__ -prune -exec rm -r {} +

.PHONY: help setup demo test browser quick same lab docs readme shape bench compare soak dist clean
