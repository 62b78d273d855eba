# wgbgp: build, test and demonstrate. Every target works in a fresh clone; Go is
# the only thing that must be there already (labs/setup brings the rest).

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GO      ?= go
# One way of compiling for lint, programs and tests, so that nothing is compiled
# twice: without C, and with no path of this machine in it. (The race detector needs
# C; testreport gives it that.)
export CGO_ENABLED := 0
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath
# The toolchain writes version and commit into the programs, where git works
# here (it refuses a tree that belongs to somebody else).
BUILD := -ldflags '-s -w' -buildvcs=$(shell git status >/dev/null 2>&1 && echo true || echo false)

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
# The other end of labs/interop, as new as the engine in go.mod.
GOBGP_VERSION := v4.8.0
GOBGP := $(TOOLS)/gobgpd-$(GOBGP_VERSION) $(TOOLS)/gobgp-$(GOBGP_VERSION)

.PHONY: all build test race lint bench benchmarks profile fuzz demo setup tools clean

all: build

# The two programs. CGO is off, so that they run on any Linux of the architecture.
build:
	@mkdir -p bin
	$(GO) build $(BUILD) -o bin/ ./cmd/wgbgpd ./cmd/wgbgp

# Set-up, lint, unit tests with the race detector, tests and labs in network
# namespaces. The last line counts what passed, failed and was skipped.
test:
	@$(MAKE) --no-print-directory -j2 setup lint
	@$(MAKE) --no-print-directory build
	$(GO) run ./internal/cmd/testreport -skips .ci/skips.txt $(PKGS)

# All there is: test, test-vm and test-docker, one after the other, each with its
# count. One that fails does not keep the others from running. The emulated machine
# leaves a processor idle, so what test-docker needs is made meanwhile.
.PHONY: ci
ci:
	@rc=0; \
	$(MAKE) --no-print-directory test || rc=1; \
	$(MAKE) --no-print-directory -k -j2 test-vm docker-ready || rc=1; \
	$(MAKE) --no-print-directory test-docker || rc=1; \
	exit $$rc

# Only what runs on a Debian kernel in a VM: the kernel's own WireGuard, GRE and
# VRF, alone and under the whole gateway. Needs an x86-64 machine, no KVM.
.PHONY: test-vm
test-vm: setup
	$(GO) run ./internal/cmd/testreport -skips .ci/skips-vm.txt -vm only

# Labs in Docker: the images, built without a registry, and topologies deployed by
# the real containerlab. Needs root, Docker and Debian's mirror for the first run.
.PHONY: test-docker
test-docker: setup labs
	$(GO) run ./internal/cmd/testreport -docker only

# What test-docker makes first. It waits for whatever else wants the processor.
.PHONY: docker-ready
docker-ready:
	@nice -n 19 $(MAKE) --no-print-directory labs
	@nice -n 19 labs/images/build
	@nice -n 19 labs/containerlab

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

# The lines about BGP beside FRR and BIRD only.
.PHONY: bench-bgp
bench-bgp: setup
	@$(GO) run ./labs/cmd/bench -only BenchmarkBGP -o bin/bench-bgp.txt

# How long traffic is interrupted when a tunnel or a host dies, beside FRR with BFD.
# Takes ten minutes.
.PHONY: bench-failover
bench-failover: setup build
	@$(GO) build $(BUILD) -o bin/failover ./labs/cmd/failover
	@bin/failover

# Every benchmark of every package.
benchmarks: setup
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -p 1 -timeout 60m $(PKGS)

# Where a benchmark spends processor time and memory:
# make profile PKG=./ha BENCH=PlanOneSiteChanges. Of a benchmark that runs in
# namespaces of its own only the outer process is seen.
profile:
	@labs/profile '$(PKG)' '$(BENCH)' '$(BENCHTIME)'

# The same for the daemon itself under a table of 100,000 prefixes.
.PHONY: profile-daemon
profile-daemon: setup
	@labs/profile-daemon

# Every fuzz target for FUZZTIME, one after the other.
fuzz:
	@labs/fuzz '$(FUZZTIME)'

# "wgbgp tgw apply" and destroy in as many random worlds, with failing and lost
# calls and kills; says how many, from which seed. `make test` does 40.
WORLDS ?= 1000
SEED   ?= 1
.PHONY: torture-apply
torture-apply:
	@cd tgwconnect/apply && $(GO) test -count=1 -timeout 60m -run Converge -runs $(WORLDS) -seed $(SEED)

# The labs of labs/topologies: bin/wgbgp-lab list, run, up, shell, down, graph.
.PHONY: labs
labs: build
	@$(GO) build $(BUILD) -o bin/ ./labs/cmd/wgbgp-lab ./labs/cmd/tgwsim

# Packets across two gateways, a simulated TGW and two sites, with faults.
demo: build
	@$(GO) build $(BUILD) -o bin/demo ./labs/cmd/demo
	@bin/demo

# The Docker images of the product and of the labs, without a registry.
.PHONY: images
images:
	@labs/images/build

# Which BGP daemons do what with wgbgpd, run and written into labs/INTEROP.md.
.PHONY: interop
interop: setup tools
	$(GO) test -count=1 ./labs/interop -update

# Programs of the system that tests talk to, such as FRR, BIRD and nftables.
setup:
	@labs/setup

tools: $(STATICCHECK) $(GOFUMPT) $(GOBGP)

# Tools are built outside the product's module, so that its go.mod stays free of
# them. `go install PKG@VERSION` is not used because it also asks the proxy for
# modules named like the package's parents, which some proxies refuse.
$(STATICCHECK):
	@labs/gotool honnef.co/go/tools $(STATICCHECK_VERSION) honnef.co/go/tools/cmd/staticcheck $@

$(GOFUMPT):
	@labs/gotool mvdan.cc/gofumpt $(GOFUMPT_VERSION) mvdan.cc/gofumpt $@

$(TOOLS)/%-$(GOBGP_VERSION):
	@labs/gotool github.com/osrg/gobgp/v4 $(GOBGP_VERSION) github.com/osrg/gobgp/v4/cmd/$* $@

clean:
	rm -rf bin $(TOOLS)
