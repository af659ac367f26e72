# GNU make. `make` alone explains itself; every line of the help is a `## ` comment behind a target.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# In the order of the imports: each may use those before it, none those after it.
MODULES := streams shared services/proxy services/worker tests/integration

BINARIES := pwdist-proxy pwdist-worker pwdist-events
pwdist-proxy := services/proxy .
pwdist-worker := services/worker .
pwdist-events := streams ./cmd/pwdist-events

VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/playwright-distributed/playwright-distributed/shared/telemetry.Version=$(VERSION)

# One tool version for everybody, kept outside the tree so that a clean clone finds it again.
GOLANGCI_VERSION := 2.15.0
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/pwdist/tools
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)

SCRIPTS := $(wildcard deploy/local/*.sh) $(wildcard deploy/compose/*.sh) deploy/compose/engine .ci/run

# each COMMAND: runs it in every module's folder and stops at the first failure.
each = for module in $(MODULES); do echo "--- $$module"; (cd $$module && $(1)); done

.PHONY: help
help: ## show this list
	@printf 'playwright-distributed: one WebSocket endpoint in front of many browsers\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nSettings of make up are explained at the top of deploy/local/up.sh.\n'

.PHONY: up
up: build ## run a pool here: private Redis, proxy and WORKERS=1 workers, until Ctrl-C
	@deploy/local/install.sh $(if $(REDIS_URL)$(PWDIST_REDIS__URL),,redis) node playwright browser
	@exec deploy/local/up.sh

.PHONY: build
build: $(BINARIES:%=build-%) ## build the programs into bin/

.PHONY: $(BINARIES:%=build-%)
$(BINARIES:%=build-%): build-%:
	@echo "building bin/$*"
	@cd $(word 1,$($*)) && go build -trimpath -ldflags '$(LDFLAGS)' -o '$(CURDIR)/bin/$*' $(word 2,$($*))

.PHONY: install
install: ## install what running a pool needs and this machine lacks
	@deploy/local/install.sh

.PHONY: install-test
install-test: ## the same for the tests: also a C compiler, the stock Node and Python clients, and HAProxy
	@deploy/local/install.sh redis node playwright browser cc clients-node clients-python haproxy

.PHONY: test
test: install-test build ## run all tests, with real browsers, Redis and clients, under the race detector
	@$(call each,go test -race -count=1 -timeout 15m ./...)

.PHONY: test-short
test-short: ## run the tests that need no browser and little time
	@deploy/local/install.sh redis node playwright clients-node haproxy
	@$(call each,go test -short -count=1 -timeout 5m ./...)

.PHONY: test-compose
test-compose: ## test the images and the compose files, on a Docker Engine
	@deploy/local/install.sh node clients-node
	@engine=$$(deploy/compose/engine) && eval "$$engine" && cd tests/integration && \
	PWDIST_TEST_COMPOSE=1 go test -count=1 -timeout 25m -v ./compose

# The whole takes some minutes; the machine has to be idle for figures that mean something.
.PHONY: bench
bench: ## measure beside HAProxy: BENCH=small,bulk,… BENCH_ROUNDS=3 BENCH_SECONDS=4 PROFILE=dir
	@deploy/local/install.sh redis node playwright browser clients-node haproxy
	@$(if $(PROFILE),mkdir -p '$(PROFILE)')
	@cd tests/integration && BENCH='$(or $(BENCH),all)' BENCH_ROUNDS='$(BENCH_ROUNDS)' BENCH_SECONDS='$(BENCH_SECONDS)' \
	PROFILE='$(if $(PROFILE),$(abspath $(PROFILE)))' go test -count=1 -timeout 60m -v -run '^TestBench$$' ./load

.PHONY: bench-connections
bench-connections: ## hold as many sessions as descriptors allow for DURATION=10m, then more over two proxies
	@deploy/local/install.sh redis
	@cd tests/integration && DURATION='$(or $(DURATION),10m)' go test -count=1 -timeout 60m -v -run '^TestConnections$$' ./load

# Takes eight minutes, more with more passes. Other work on the machine shows in the figures.
.PHONY: bench-state
bench-state: ## measure what a session costs Redis as fleet, flavours and queue grow: PWDIST_BENCH_WORKERS=1000 for one size, PWDIST_BENCH_PASSES=3 where the machine is shared
	@deploy/local/install.sh redis valgrind
	@cd shared && PWDIST_BENCH_INSTRUCTIONS=1 go test -count=1 -timeout 20m -v -run '^TestCostInInstructions$$' ./state
	@cd shared && PWDIST_BENCH_STATE=1 go test -count=1 -timeout 40m -v -run '^Test(Cost|Pauses)$$' ./state
	@cd tests/integration && PWDIST_BENCH_STATE=1 go test -count=1 -timeout 10m -v -run '^TestGrantLatency$$' ./load/sim

# Each row takes as long as its fault lasts, so several are played at once.
.PHONY: faults
faults: ## measure what faults do to a pool, for docs/faults.md: FAULTS=Redis RUNS=3 WRITE=1
	@deploy/local/install.sh redis node playwright browser clients-node
	@cd tests/integration && PWDIST_FAULTS='$(if $(WRITE),write,print)' PWDIST_FAULTS_RUNS='$(or $(RUNS),3)' \
	go test -count=1 -timeout 60m -parallel 8 -v -run '^TestFaults$$/^row$$/$(FAULTS)' ./faulttable

.PHONY: sim
sim: ## play a pool of 1,000 virtual workers with 20,000 waiting clients, of which some die: SIM_SEED=1
	@deploy/local/install.sh redis
	@cd tests/integration && PWDIST_SIM=full PWDIST_SIM_SEED='$(SIM_SEED)' go test -count=1 -timeout 10m -v -run '^TestSimulation$$' ./load/sim

# Some two minutes with histories of a thousand steps.
.PHONY: model
model: ## play random histories of calls against Redis, and check the state after each call: STEPS=1000 CHECKS=100 SEED=1
	@deploy/local/install.sh redis
	@cd shared && PWDIST_MODEL_STEPS='$(or $(STEPS),1000)' PWDIST_MODEL_SEED='$(SEED)' \
	go test -count=1 -timeout 120m -v -run '^TestModel$$' ./state -rapid.checks='$(or $(CHECKS),100)'

# CHAOS_RACE=1 builds everything with the race detector, which needs a machine for itself.
.PHONY: chaos
chaos: ## kill, freeze and cut off the parts of a pool under load, and check what it did: DURATION=60s SEED=1
	@deploy/local/install.sh redis node playwright browser clients-node
	@cd tests/integration && CHAOS_DURATION='$(or $(DURATION),60s)' CHAOS_SEED='$(SEED)' \
	go test $(if $(CHAOS_RACE),-race) -count=1 -timeout 120m -v -run '^TestChaos$$' ./chaos

# Takes a few minutes, most of which pass while workers start.
.PHONY: recycling
recycling: ## have ten workers be replaced again and again by SESSIONS=5000, and see that slots stay usable
	@deploy/local/install.sh redis node
	@cd tests/integration && PWDIST_RECYCLING='$(or $(SESSIONS),5000)' go test -count=1 -timeout 30m -v -run '^TestRecycling$$' ./soak

.PHONY: soak
soak: ## use a pool for DURATION=10m, kill clients, pages and browsers, and see that nothing grows
	@deploy/local/install.sh redis node playwright browser clients-node
	@cd tests/integration && PWDIST_SOAK='$(or $(DURATION),10m)' go test -count=1 -timeout 120m -v -run '^TestSoak$$' ./soak

.PHONY: lint
lint: $(GOLANGCI) ## check style, errors and the direction of imports in Go, and the shell scripts
	@$(call each,$(GOLANGCI) run --allow-parallel-runners --config '$(CURDIR)/.golangci.yml' ./...)
	@if command -v shellcheck >/dev/null; then echo '--- shell scripts'; shellcheck $(SCRIPTS); \
	else echo 'shellcheck is not installed: shell scripts are not checked'; fi

.PHONY: fmt
fmt: $(GOLANGCI) ## format all Go code
	@$(call each,$(GOLANGCI) fmt --config '$(CURDIR)/.golangci.yml' ./...)

.PHONY: vet
vet: ## run go vet
	@$(call each,go vet ./...)

.PHONY: tidy
tidy: ## make every go.mod name just what its module imports
	@$(call each,go mod tidy)

.PHONY: tidy-check
tidy-check: ## fail if make tidy would change something, or a module needs the workspace to build
	@$(call each,go mod tidy -diff && GOWORK=off go build ./...)

.PHONY: clean
clean: ## remove everything that make put into this folder
	rm -rf bin .tools services/worker/playwright/node_modules tests/integration/clients/node/node_modules

# Built aside and moved in one step: two makes at once are then no trouble.
$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION), once for this machine"
	@mkdir -p $(TOOLS)
	@aside=$$(mktemp -d $(TOOLS)/build.XXXXXX); \
	trap 'rm -rf "$$aside"' EXIT; \
	GOBIN=$$aside go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$(GOLANGCI_VERSION); \
	mv "$$aside/golangci-lint" $@
