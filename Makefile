# make demo    install, then segment the example images with the built-in model
# make test    install, then lint, type-check and run every test; those of the page are skipped where there is no Chromium
# make web     build the page of `refersat serve` from web/ (needs npm)
# make web-check  its lint, types and tests, and that the built files in the repository are those of its sources
# make web-test   only the tests of the page in a browser (needs Chromium)
# make lint | format | clean

PYTHON ?= python3
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
DEMO := out/demo
PAGE := src/refersat/service/page

.DELETE_ON_ERROR:
.PHONY: demo test lint format web web-check web-test clean

demo: $(VENV)/.installed
	@rm -rf $(DEMO)
	$(BIN)/refersat predict examples/bridge.tif -t "the airplane" --out $(DEMO)
	$(BIN)/refersat predict examples/cars.tif -t "all vehicles" --out $(DEMO)
	$(BIN)/refersat predict examples/ships.jpg -t "all ships" -t "the ship at the bottom" --out $(DEMO)
	@echo "Look at $(DEMO)/*.overlay.png; the masks (*.mask.tif) and polygons (*.geojson) lie beside them."

test: lint
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

web-test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m browser $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.installed-dev
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

web: web/node_modules/.installed
	@cd web && npm run --silent build

web-check: web/node_modules/.installed
	@cd web && npm run --silent check && npm run --silent build -- --outDir ../out/page
	@diff -r out/page $(PAGE) || { echo "$(PAGE) is not what web/ builds: run \`make web\` and commit it." >&2; exit 1; }

web/node_modules/.installed: web/package-lock.json
	@cd web && npm install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

clean:
	rm -rf web/node_modules $(VENV) out build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "refersat needs Python 3.11 or newer; $(PYTHON) is not. Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$(PYTHON) cannot make virtual environments (on Debian and Ubuntu: apt-get install python3-venv)." >&2; \
		exit 1; }

# The stamps make a second `make` skip the installation; the environment itself is no prerequisite by time, only by presence.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing refersat into $(VENV) (PyTorch is large: this takes minutes the first time) ..."
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing refersat and its development tools into $(VENV) (PyTorch is large: this takes minutes the first time) ..."
	@$(PIP) --editable '.[train,tensorboard,parquet,ray,serve,export,dev]'
	@touch $@ $(VENV)/.installed
