# Each target needs Python >= 3.11 with venv, and installs into .venv what is missing.

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
# uv if it is installed, because it takes a tenth of the time; `make install` installs one for the next time.
UV = $(shell command -v uv || ls $(BIN)/uv 2>/dev/null)
# The document must not depend on the settings of a developer.
OPENAPI = env -i PATH="$$PATH" HOME="$$HOME" ENV_FILE=/dev/null python -m app openapi
LOCK = uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-header --no-annotate $(ARGS)
PEERS := bench/peers
LINTERS := tools/openapi
SWAGGER_UI := tools/swagger-ui
NPM := $(shell command -v npm || true)
export PATH := $(BIN):$(PATH)
# The tests start a hundred Python processes, each of which would compile its imports again.
unexport PYTHONDONTWRITEBYTECODE

# $(call install,what,environment,requirements) prints what it installs and how long it took. pip takes a minute; on a
# terminal a line in between shows its progress.
define install
@printf 'Installing %s with $(if $(UV),uv,pip): %s packages\n' '$(1)' $$(sort -u $(3) | grep -c ==); begun=$$(date +%s); \
	$(if $(UV),$(call with_uv,$(2),$(addprefix -r ,$(3))),$(call with_pip,$(2),$(addprefix -r ,$(3)))) \
	&& echo "Installed $(1) in $$(($$(date +%s) - begun)) s"
endef
with_uv = '$(UV)' pip install --quiet --python $(1)/bin/python $(2)
with_pip = { $(1)/bin/python -m pip install --disable-pip-version-check --progress-bar off $(2) || echo FAILED; } | { \
	while read -r line; do case $$line in \
		FAILED) exit 1;; \
		Collecting*|Installing*) if test -t 1; then printf '\r\033[K%.70s' "$$line"; fi;; \
	esac; done; if test -t 1; then printf '\r\033[K'; fi; }

.DEFAULT_GOAL := help
.PHONY: help install run dev seed test test-fast check demo migration openapi lint-openapi swagger-ui screenshots lock bench bench-quick bench-check bench-bulk bench-growth bench-fields bench-observed abuse abuse-quick peers faults faults-quick clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F '|' '{ printf "%-16s %s\n", $$1, $$2 }'

install: .venv/service .venv/tools ## Install the service, its embedded PostgreSQL and all tools into .venv.

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Songbook needs Python 3.11 or newer: make PYTHON=python3.13 …")'
	$(PYTHON) -m venv .venv

.venv/service: project/requirements.txt project/requirements-embedded.txt | .venv/bin/python
	$(call install,the service and its PostgreSQL,.venv,project/requirements.txt project/requirements-embedded.txt)
	@touch $@

TOOLS := $(addprefix project/requirements-,dev.txt telemetry.txt uploads.txt)
.venv/tools: $(TOOLS) .venv/service
	$(call install,the tools for tests and checks,.venv,$(TOOLS))
	@touch $@

run: .venv/service ## Start PostgreSQL, migrate and serve http://localhost:8004 until Ctrl-C.
	@cd project && exec python -m app serve

dev: .venv/service ## As run, with an access log; restart when the code changes.
	@cd project && exec python -m app serve --reload

seed: .venv/service ## Store a few songs, cities and todos, if there are none, to try the service with.
	@cd project && exec python -m app seed

test: install ## Run the tests; SLOW_TESTS=1 the slow ones, too; ARGS="--cov" measures what they cover.
	cd project && pytest $(ARGS)

test-fast: install ## Run the quick tests, in half a minute: those that start no other process.
	cd project && pytest -m "not processes and not long" $(ARGS)

check: install ## Check format, lint, types, layers, and that models, migrations and docs/openapi.json agree.
	cd project && ruff format --check . ../bench ../examples ../resilience ../tools
	cd project && ruff check . ../bench ../examples ../resilience ../tools
	cd project && mypy
	cd project && lint-imports
	unset DATABASE_URL && POSTGRES_DATA=$$(mktemp -d) && export POSTGRES_DATA \
		&& trap 'rm -rf "$$POSTGRES_DATA"' EXIT && cd project && python -m app migrate && alembic check
	cd project && $(OPENAPI) | diff ../docs/openapi.json - || { echo "docs/openapi.json is not what the code says: make openapi"; exit 1; }

demo: .venv/service ## Run the README's curl session against a service of its own.
	python examples/demo.py

migration: install ## Write the Alembic revision for what changed in the models: make migration m="add tempo".
	@test -n "$(m)" || { echo 'Describe the change: make migration m="add tempo"'; exit 2; }
	cd project && alembic upgrade head && alembic revision --autogenerate -m "$(m)"

openapi: .venv/service ## Update docs/openapi.json.
	cd project && $(OPENAPI) > ../docs/openapi.json

lint-openapi: install $(if $(NPM),$(LINTERS)/node_modules/installed) ## Lint docs/openapi.json with Redocly and Spectral; needs npm.
	$(if $(NPM),python $(LINTERS)/lint.py,@echo 'docs/openapi.json is not linted: that needs npm (Node.js 20 or newer)')

$(LINTERS)/node_modules/installed: $(LINTERS)/package-lock.json
	cd $(LINTERS) && npm ci --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null
	@touch $@

swagger-ui: .venv/service ## Store the Swagger UI of tools/swagger-ui/package.json in the library; needs npm.
	cd $(SWAGGER_UI) && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund --loglevel=error
	cd $(SWAGGER_UI) && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	python $(SWAGGER_UI)/vendor.py

screenshots: install ## Take the pictures of the console in docs/console, with Chromium.
	cd project && SCREENSHOTS=1 SLOW_TESTS=1 pytest -n 0 tests/service/test_console.py $(ARGS)

lock: install ## Pin the dependencies of pyproject.toml, and theirs; ARGS="--upgrade" takes newer versions.
	cd project && $(LOCK) pyproject.toml -o requirements.txt
	cd project && $(LOCK) pyproject.toml --extra embedded -c requirements.txt -o requirements-embedded.txt
	cd project && $(LOCK) pyproject.toml --extra telemetry -c requirements-embedded.txt -o requirements-telemetry.txt
	cd project && $(LOCK) pyproject.toml --extra uploads -c requirements-embedded.txt -o requirements-uploads.txt
	cd project && $(LOCK) --group dev -c requirements-embedded.txt -c requirements-telemetry.txt -o requirements-dev.txt
	cd $(PEERS) && $(LOCK) requirements.in -o requirements.txt

bench: install peers ## Measure Songbook and other frameworks (ten minutes), and update docs/speed.md.
	python bench/measure.py --json docs/speed/peers.json $(ARGS)
	$(PEERS)/.venv/bin/python bench/publish.py

bench-quick: install peers ## Measure the list, one row and a create against the tutorial and Fastify, in a minute.
	python bench/measure.py --rounds 3 --seconds 1 --only list --only one --only create --peers fastify $(ARGS)

bench-check: install peers ## Fail if requests have become slower, relative to the songs tutorial (three minutes).
	python bench/measure.py --rounds 3 --seconds 1 --peers --check $(ARGS)

bench-bulk: install ## Measure Songbook's imports and exports against psql's copies.
	python bench/bulk.py $(ARGS)

bench-growth: install peers ## Measure Songbook with up to 10,000,000 songs and 256 connections (half an hour), and update docs/speed.md.
	python bench/growth.py --json docs/speed/growth.json $(ARGS)
	for rows in 10000 100000 1000000; do python bench/bulk.py --rows $$rows --json docs/speed/bulk-$$rows.json || exit; done
	$(PEERS)/.venv/bin/python bench/publish_growth.py

bench-fields: install ## Measure what lists of some of the fields cost (a minute), and update docs/speed.md.
	python bench/fields.py --json docs/speed/fields.json $(ARGS)

bench-observed: install ## Measure what metrics and the access log cost (four minutes), and update docs/speed.md.
	python bench/observed.py --json docs/speed/observed.json $(ARGS)

abuse: install ## Send 1,400 hostile requests, run 13 attacks while others ask (seven minutes), and update docs/reliability.md.
	python resilience/abuse.py --json docs/reliability/abuse.json $(ARGS)
	PYTHONPATH=bench python resilience/abuse_publish.py

abuse-quick: install ## As abuse, with attacks of three seconds (a minute and a half); writes nothing.
	python resilience/abuse.py --quick $(ARGS)

faults: install ## Kill, freeze and cut PostgreSQL and the service under load, and check what is stored (eight minutes).
	python resilience/faults.py --json docs/reliability/faults.json $(ARGS)
	PYTHONPATH=bench python resilience/faults_publish.py

faults-quick: install ## The same with four faults, in a minute.
	python resilience/faults.py --quick $(ARGS)

peers: $(PEERS)/.venv/installed ## Install the other frameworks into bench/peers; Fastify only if there is npm.

$(PEERS)/.venv/installed: $(PEERS)/requirements.txt $(if $(NPM),$(PEERS)/node_modules/installed)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("The peers need Python 3.11 or newer: make PYTHON=python3.13 …")'
	$(PYTHON) -m venv $(PEERS)/.venv
	$(call install,the peers,$(PEERS)/.venv,$<)
	@touch $@

$(PEERS)/node_modules/installed: $(PEERS)/package-lock.json
	cd $(PEERS) && npm ci --omit=dev --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null
	@touch $@

clean: ## Remove environments and caches; keep the data.
	rm -rf .venv $(PEERS)/.venv $(PEERS)/node_modules $(LINTERS)/node_modules $(SWAGGER_UI)/node_modules project/.mypy_cache project/.ruff_cache .pytest_cache .hypothesis project/.hypothesis project/.coverage*
	find project bench examples resilience -name __pycache__ -prune -exec rm -rf {} +
