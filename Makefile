# make demo    sets up, trains Mask R-CNN with a SAGA backbone on demo data, evaluates it and draws what it found
# make test    sets up and runs the tests; ARGS='tests/test_ops -k gate' is passed on to pytest
# make benchmark   time and memory of attention and backbones beside their baselines (more than half an hour on two idle cores)
# make page    builds the page that enhances photographs in a browser into build/page; fetches ONNX Runtime from npm once
# make docs    builds the documentation into build/docs
# make wheel   the package as a wheel, in dist
# make campaign    attacks on the tools: kills, full disks, payloads, damaged files, rivals, memory limits (half an hour)
# make setup   the environment alone;  make lint, make format: ruff;  make clean: removes what was built, keeps environments
# STACK=original does each of them with the original OpenMMLab libraries, in an environment of its own; PYTHON= picks a Python
# OPS=1 does each of them with mmcv's compiled operators, in an environment of its own: for GPUs, a quarter of an hour to set up

STACK ?= onedl
ENV_onedl := .venv
ENV_original := .venv-original
ENV := $(ENV_$(STACK))$(if $(filter-out 0,$(OPS)),-ops)
ifeq ($(ENV_$(STACK)),)
$(error STACK=$(STACK) is not known. Choose STACK=onedl or STACK=original)
endif

PY := $(ENV)/bin/python
DRAWN := work_dirs/saga_maskrcnn/pictures
ENGINES := fused,saga,fused@openvino,saga@openvino,saga@strips,linear@openvino,focused@openvino,rala@openvino
ENHANCERS := saga_unet,saga_unet@openvino,saga_unet_tiny,saga_unet_tiny@openvino
BROWSER = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)
CANDIDATES := $(or $(PYTHON),$(PY) python3.11 python3.12 python3.13 python3.10 python3)

.PHONY: demo test benchmark campaign docs wheel page setup lint format clean

demo: setup
	$(PY) tools/train.py configs/saga_maskrcnn.py
	$(PY) tools/test.py configs/saga_maskrcnn.py work_dirs/saga_maskrcnn --show-dir $(DRAWN) --score-thr 0.5
	$(PY) tools/report.py work_dirs/saga_maskrcnn --pictures $(DRAWN)

# its tests of the page need a browser, and the page; a file's tests share what is slow to make, so one process runs them
test: setup
	@if [ -n "$(BROWSER)" ]; then $(PY) page/build.py || echo 'the page in the browser is not tested'; fi
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder $(ARGS)

benchmark: setup
	$(PY) tools/benchmark.py op --sizes 640,1280
	$(PY) tools/benchmark.py backbone --sizes 512,640,1280
	$(PY) tools/benchmark.py backbone --sizes 2048 --only fused,fused_whole,saga --repeats 3 --out work_dirs/benchmark/large
	$(PY) tools/benchmark.py backbone --sizes 1280 --only fused,fused_whole,saga --compile --out work_dirs/benchmark/compiled
	$(PY) tools/benchmark.py backbone --sizes 1280 --only $(ENGINES) --repeats 7 --min-seconds 5 --out work_dirs/benchmark/engines
	$(PY) tools/benchmark.py enhancer --sizes 400x608,1280 --only $(ENHANCERS) --repeats 7 --min-seconds 3 --no-memory --out work_dirs/benchmark/enhancers

docs: setup
	@$(PY) -c 'import furo, myst_parser, sphinx' 2>/dev/null || $(PY) -m pip install -q -r requirements-docs.txt
	$(PY) -m sphinx -q -W --keep-going -b html docs build/docs
	@echo 'the documentation is in build/docs/index.html'

wheel: setup
	$(PY) -m pip wheel -q --no-deps --no-build-isolation -w dist .

campaign: setup
	OMP_NUM_THREADS=1 $(PY) -m campaign $(ARGS)

page: setup
	$(PY) page/build.py

setup:
	@for python in $(CANDIDATES); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    exec "$$python" tools/setup_env.py $(STACK) $(if $(filter-out 0,$(OPS)),--ops); \
	  fi; \
	done; \
	echo 'saga_mm needs Python 3.10, 3.11, 3.12 or 3.13; tried $(CANDIDATES). Name one: make PYTHON=/path/to/python3.11' >&2; \
	exit 1

lint: setup
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: setup
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:
	rm -rf build dist .pytest_cache .ruff_cache
	find saga_mm tests tools configs -name __pycache__ -type d -prune -exec rm -rf {} +
