# wgbgp: build, test and demonstrate. Every target works in a fresh clone; Go is
# the only thing that must be there already (labs/setup brings the rest).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GO      ?= go
# The toolchain writes version and commit into the programs, where git works
# here (it refuses a tree that belongs to somebody else).
BUILD := -trimpath -ldflags '-s -w' -buildvcs=$(shell git status >/dev/null 2>&1 && echo true || echo false)

# How long each fuzz target runs in `make fuzz`.
FUZZTIME ?= 60s
# Which benchmarks `make benchmarks` and `make profile` run, and for how long each.
BENCH     ?= .
BENCHTIME ?= 1s
# Which package `make profile` looks into.
PKG ?= ./ha
# Which packages `make test`, `make race` and `make benchmarks` look at.
PKGS ?= ./...

TOOLS := .tools
STATICCHECK_VERSION := v0.8.2
GOFUMPT_VERSION     := v0.12.0
STATICCHECK := $(TOOLS)/staticcheck-$(STATICCHECK_VERSION)
GOFUMPT     := $(TOOLS)/gofumpt-$(GOFUMPT_VERSION)

.PHONY: all build test race lint bench benchmarks profile fuzz demo setup tools clean

all: build

# The two programs. CGO is off, so that they run on any Linux of the architecture.
build:
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build $(BUILD) -o bin/ ./cmd/wgbgpd ./cmd/wgbgp

# Everything: set-up, lint, unit tests with the race detector, tests in network
# namespaces, and last, in about four minutes, the tests of test-vm (VM=no leaves
# them out). The last line counts what passed, failed and was skipped.
VM ?= also
test: setup lint build
	$(GO) run ./internal/cmd/testreport -skips .ci/skips.txt -vm $(VM) $(PKGS)

# Only what runs on a Debian kernel in a VM: the kernel's own WireGuard, GRE and
# VRF, alone and under the whole gateway. Needs an x86-64 machine, no KVM.
.PHONY: test-vm
test-vm: setup
	$(GO) run ./internal/cmd/testreport -vm only

# As test, with the race detector in the namespace tests too (slow).
race: setup
	$(GO) run ./internal/cmd/testreport -skips .ci/skips.txt -race-namespaces $(PKGS)

lint: tools
	$(GO) vet ./...
	$(STATICCHECK) ./...
	@dirty=$$($(GOFUMPT) -l .); \
	if [ -n "$$dirty" ]; then echo "not formatted by gofumpt $(GOFUMPT_VERSION) (cure: make format):"; echo "$$dirty"; exit 1; fi

.PHONY: format
format: tools
	$(GOFUMPT) -w .

# What is promised about speed and cost, as one table; also in bin/bench.txt with
# all that the benchmarks printed. Takes some minutes.
bench: setup
	@$(GO) run ./labs/cmd/bench -o bin/bench.txt

# Every benchmark of every package.
benchmarks: setup
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -p 1 -timeout 60m $(PKGS)

# Where a benchmark spends processor time and memory:
# make profile PKG=./ha BENCH=PlanOneSiteChanges. Of a benchmark that runs in
# namespaces of its own only the outer process is seen.
profile:
	@labs/profile '$(PKG)' '$(BENCH)' '$(BENCHTIME)'

# Every fuzz target for FUZZTIME, one after the other.
fuzz:
	@labs/fuzz '$(FUZZTIME)'

# Packets across two gateways, a simulated TGW and two sites, with faults.
demo: build
	@$(GO) build $(BUILD) -o bin/demo ./labs/cmd/demo
	@bin/demo

# Programs of the system that tests talk to, such as FRR, BIRD and nftables.
setup:
	@labs/setup

tools: $(STATICCHECK) $(GOFUMPT)

# Tools are built outside the product's module, so that its go.mod stays free of
# them. `go install PKG@VERSION` is not used because it also asks the proxy for
# modules named like the package's parents, which some proxies refuse.
$(STATICCHECK):
	@labs/gotool honnef.co/go/tools $(STATICCHECK_VERSION) honnef.co/go/tools/cmd/staticcheck $@

$(GOFUMPT):
	@labs/gotool mvdan.cc/gofumpt $(GOFUMPT_VERSION) mvdan.cc/gofumpt $@

clean:
	rm -rf bin $(TOOLS)
