# Each target does its own set-up: a virtual environment in ./.venv and, on Debian as root, missing system libraries.
# Options: QT=pyqt6 (environment ./.venv-pyqt6), JOBS=4 (test processes), PYTHON=/path/to/python, ARGS="..." (to the demo or pytest).
QT ?= pyqt5
JOBS ?= 2
VENV := .venv$(if $(filter-out pyqt5,$(QT)),-$(QT))
BIN := $(VENV)/bin

# One thread per test process: the processes share the cores. Software OpenGL would otherwise take them all.
TEST_ENV := QT_API=$(QT) OMP_NUM_THREADS=1 LP_NUM_THREADS=1
# Looked up late, after set-up may have installed it. Without it (macOS, Windows) the tests use the real display.
XVFB = $(shell command -v xvfb-run >/dev/null && echo "env QT_QPA_PLATFORM=xcb xvfb-run -a -s '-screen 0 1600x1000x24'")
PYTEST = $(TEST_ENV) $(XVFB) $(BIN)/python -m pytest
# A file stays in one test process, so that its fixtures are made once; the files are begun in the order of tests/conftest.py.
WHOLE_FILES := --dist loadfile --no-loadscope-reorder
SECTION = @printf '\n== %s\n'

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-faults walk bench lint clean set-up

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@sed -n '2s/^# //p' $(MAKEFILE_LIST)

demo: set-up  ## run the whole main job on a simulated subject, then open the window (about ten minutes on two cores; first maps and pictures after half of it)
	QT_API=$(QT) $(BIN)/brain2pix demo $(ARGS)

test: lint  ## check the code and run the tests
	$(SECTION) "pytest"
	$(PYTEST) -n $(JOBS) $(WHOLE_FILES) $(ARGS)

test-slow: set-up  ## the proofs that take minutes: recovery of the truth, training from end to end, installation from a wheel
	$(PYTEST) -m slow --timeout 3600 $(ARGS)

test-faults: set-up  ## kill, fill, truncate and disconnect whatever the background compute rests on
	$(PYTEST) -m faults --timeout 600 $(ARGS)

walk: set-up  ## drive the first minutes of a new user through the real window; screenshots and a log in build/walk/
	$(TEST_ENV) $(XVFB) $(BIN)/python scripts/walk.py --out build/walk/$(QT)

bench: set-up  ## measure what we promise about speed
	$(PYTEST) tests/bench -o addopts="--strict-markers --import-mode=importlib" --benchmark-only $(ARGS)

lint: set-up  ## the quick checks: format, rules, types, layers, spelling
	$(SECTION) "ruff check"
	@$(BIN)/ruff check
	$(SECTION) "ruff format"
	@$(BIN)/ruff format --check
	$(SECTION) "mypy"
	@$(BIN)/mypy
	$(SECTION) "import-linter"
	@$(BIN)/lint-imports --no-logo
	$(SECTION) "typos"
	@$(BIN)/typos

clean:  ## remove what was built or cached (not the environments, not results)
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks
	find src napari_brain2pix resources tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

set-up:
	@scripts/set_up.sh $(QT) $(VENV)
