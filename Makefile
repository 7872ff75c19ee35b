# make up         everything on this machine, with two demo cameras
# make build      bin/framelog
# make check      format, vet, lint, unit tests: no Kafka, no browser, no FFmpeg
# make test       the whole suite but what takes long
# make test-long  that with all that takes long
# make sim        1,000,000 schedules of the log's protocol, and 10,000 of two archivers, on all cores
# make bench      speed and memory beside FFmpeg and GStreamer
# make mediamtx   builds MediaMTX from its Go module; make bench measures it then too
# make sizing     what a camera costs on this machine, and what many need
SHELL := /usr/bin/env bash -o pipefail
.DEFAULT_GOAL := build

GO ?= go
# Flags of go test, as TEST_FLAGS='-run TestX'; PKG is what is tested.
TEST_FLAGS ?=
PKG ?= ./...
BENCH_FLAGS ?=

.PHONY: up build page check test test-long test-web test-go sim vet lint bench mediamtx sizing deps deps-test clean

up: deps
	@$(MAKE) --no-print-directory build
	@exec bin/framelog up --demo $(UP_FLAGS)

build: page
	$(GO) build -o bin/framelog ./cmd/framelog

# The page is embedded into the binary. Without Node the binary says so at /.
page: egress/page/dist/index.html
egress/page/dist/index.html: $(shell find web/src web/build.mjs web/package-lock.json -type f 2>/dev/null)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory web/node_modules/.done && cd web && npm run --silent build; \
	else echo "page: npm is missing, so the page is left out (make deps installs it)" >&2; fi

web/node_modules/.done: web/package-lock.json
	@cd web && npm ci --no-audit --no-fund --loglevel=error && touch node_modules/.done

deps:
	@scripts/deps.sh

deps-test:
	@scripts/deps.sh test

# For while you work. Tests that need more than Go and GStreamer skip (testenv.SkipShort),
# and the simulation of the log runs 300 schedules.
check: build lint test-web
	$(GO) list ./... | sed '\|/tests/|d' | xargs $(GO) test -short -parallel 8 # most tests wait

test: deps-test
	@$(MAKE) --no-print-directory build vet test-web test-go

# Most packages and tests wait more than they compute, so some run at a time. Whole systems with
# browsers and brokers run one after another, so that they disturb each other less. Everything
# twice would take too long. Browsers show the pictures of a system without the race detector,
# as users have it; the faults run with it, and test-long runs both with it. The last lines run
# without it too: it hides some faults (it takes several times the memory), and it makes some
# tests slow and finds nothing there (testenv.SkipRace). make vet has vetted all before.
SYSTEMS := /tests/(bench|compat|deploy|examples|faults|kafkasec|testenv|upgrade)
test-go:
	cd tests/deploy/manifests && FRAMELOG_TEST_BINARY=$(or $(abspath $(FRAMELOG_TEST_BINARY)),$(CURDIR)/bin/framelog) $(GO) test ./...
	$(GO) list $(PKG) | sed -E '\@$(SYSTEMS)|/tests/e2e@d' | xargs -r $(GO) test -vet=off -race -shuffle=on -timeout 24m -p 3 -parallel 4 $(TEST_FLAGS)
	$(GO) list $(PKG) | sed '\|/tests/e2e$$|!d' | xargs -r $(GO) test -vet=off $(E2E_RACE) -shuffle=on -timeout 24m $(TEST_FLAGS)
	$(GO) list $(PKG) | sed -E '\@$(SYSTEMS)@!d' | xargs -r $(GO) test -vet=off -race -shuffle=on -timeout 24m -p 1 $(TEST_FLAGS)
	$(GO) test -vet=off -count=1 -run '^TestKilled$$' ./internal/broker
	$(GO) test -vet=off -count=1 -run '^TestSimulation' ./internal/medialog ./archiver
	$(GO) test -vet=off -count=1 -timeout 24m ./processors/motion

# All of it: with every player of others over every change, and every kind of stream.
test-long: deps-test
	@$(MAKE) --no-print-directory build vet test-web
	FRAMELOG_TEST_LONG=1 $(MAKE) --no-print-directory test-go E2E_RACE=-race TEST_FLAGS='$(TEST_FLAGS) -timeout 90m'

# Each core has its own seeds. A schedule that fails is printed with its seed, and the
# others go on.
SIM_FIRST ?= 1
SIM_COUNT ?= 1000000
sim:
	@mkdir -p .cache && $(GO) test -c -o .cache/sim.test ./internal/medialog && $(GO) test -c -o .cache/sim-archive.test ./archiver
	@cores=$$(nproc); n=$$((($(SIM_COUNT) + cores - 1) / cores)); pids=; failed=; \
	for i in $$(seq 0 $$((cores - 1))); do \
	  GOGC=400 .cache/sim.test -test.run '^TestSimulation' -test.v -test.timeout 0 -sim.all -sim.first $$(($(SIM_FIRST) + i * n)) -sim.count $$n & pids+=" $$!"; \
	  .cache/sim-archive.test -test.run '^TestSimulation' -test.v -test.timeout 0 -sim.all -sim.first $$(($(SIM_FIRST) + i * n)) -sim.count $$(((n + 99) / 100)) & pids+=" $$!"; \
	done; \
	for p in $$pids; do wait $$p || failed=1; done; [ -z "$$failed" ]

test-web: web/node_modules/.done
	@cd web && npm run --silent check && npm test --silent

vet:
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); [ -z "$$bad" ] || { echo "gofmt: $$bad" >&2; exit 1; }
	$(GO) vet ./...

lint: vet
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "lint: golangci-lint is not installed; gofmt and go vet have run" >&2; fi

# Half an hour as it is; BENCH_FLAGS='-cameras 4 -rounds 1 -seconds 10s' is short. '-mediamtx PATH' measures another MediaMTX.
bench: deps-test build
	FRAMELOG_TEST_BINARY=$(CURDIR)/bin/framelog $(GO) test -run '^$$' -bench . -skip Sizing -benchtime 1x -timeout 90m ./tests/bench -args $(addprefix -mediamtx ,$(wildcard $(CURDIR)/.cache/mediamtx/mediamtx)) $(BENCH_FLAGS)
	$(GO) test -run '^$$' -bench . -benchtime 5x ./processors/exec

mediamtx:
	@scripts/mediamtx.sh

# Some ten minutes; BENCH_FLAGS='-rates 4' is shorter. docs/sizing.md has the numbers of another machine.
sizing: deps-test build
	FRAMELOG_TEST_BINARY=$(CURDIR)/bin/framelog $(GO) test -run '^$$' -bench Sizing -benchtime 1x -timeout 60m ./tests/bench -args -warm 6s -seconds 10s $(BENCH_FLAGS)
	@$(GO) run ./tests/sizing/print

clean:
	rm -rf bin .cache web/node_modules egress/page/dist/assets egress/page/dist/index.html*
