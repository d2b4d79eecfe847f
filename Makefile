# What there is to do here. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build image demo demo-clean test test-unit test-integration test-e2e fuzz bench lint generate clean

# All that is built, downloaded, started or recorded is below the state folder.
STATE := $(abspath $(or $(TESTBED_STATE),.testbed))
export TESTBED_STATE := $(STATE)
# One way to compile for builds, linters and tests, or go would compile every
# dependency once for each.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath
export GOWORK := off

E2E := testdata/e2e
REPORT := $(STATE)/bin/testreport
TAGS := integration,e2e,cluster
# Every module of this repository that has Go code. The test environment and the
# bench are packages of the product's module in a folder that ./... leaves out.
MODULES := $(shell for m in $$(git ls-files --cached --others --exclude-standard '*go.mod'); do d=$$(dirname $$m); \
	[ -z "$$(find $$d -name '*.go' -print -quit)" ] || echo $$d; done)
packages = $(if $(filter .,$(1)),./... ./testdata/testenv/... ./testdata/bench/...,./...)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Google's SDK needs no gRPC for what it does here: its own switch leaves that out.
# gRPC's switch leaves out its tracing pages, whose templates keep the linker from
# dropping methods that nobody calls: of 122 MB 53 are left.
BUILD := go build -tags disable_grpc_modules,grpcnotrace '-ldflags=-s -w'

build: ## build the plugin and the executor into bin/
	$(BUILD) -o bin/ ./cmd/...

image: build ## the executor's image: pushed to IMAGE_REPO (IMAGE_TAG, default dev), else dist/executor.tar
	@go -C $(E2E) run ./cmd/image

demo: $(STATE)/bin/demo ## cluster, storage, install, backup, disaster, restore; leaves everything up
	@$(STATE)/bin/demo

demo-clean: $(STATE)/bin/demo ## end all that `make demo` started
	@$(STATE)/bin/demo clean

test: $(REPORT) ## lint, unit, integration and end-to-end tests; closes with counts
	@$(REPORT) reset
	@for layer in lint test-unit test-integration test-e2e; do \
		echo; echo "== $$layer"; $(MAKE) --no-print-directory $$layer || echo "$$layer failed"; done
	@echo; $(REPORT) close

# staticcheck leaves out testdata/cluster/kube and testdata/node: each is a list
# of components, for which it would analyse all of Kubernetes.
lint: $(REPORT) $(STATE)/bin/staticcheck $(STATE)/bin/govulncheck ## gofmt, vet, staticcheck, generated files, known vulnerabilities
	@$(REPORT) reset lint
	@check() { $(REPORT) check lint "$$@" || true; }; \
	check gofmt testdata/lint/gofmt; \
	check generated testdata/lint/generated; \
	$(foreach m,$(MODULES), \
		check 'vet $(m)' go -C $(m) vet -tags $(TAGS) $(call packages,$(m));) \
	check 'staticcheck .' testdata/lint/staticcheck . $(TAGS) $(call packages,.); \
	check 'staticcheck testdata/e2e' testdata/lint/staticcheck testdata/e2e $(TAGS) ./...; \
	check 'staticcheck testdata/cluster' testdata/lint/staticcheck testdata/cluster $(TAGS) . ./internal/... ./pause; \
	check 'staticcheck testdata/csi' testdata/lint/staticcheck testdata/csi $(TAGS) ./...; \
	check govulncheck testdata/lint/govulncheck; \
	$(REPORT) close lint

test-unit: $(REPORT) ## unit tests of every module
	@$(REPORT) reset unit
	@$(foreach m,$(MODULES),$(REPORT) test unit go -C $(m) test -json -timeout 10m $(call packages,$(m)) || true;) \
	$(REPORT) close unit

# The packages that have integration tests, and the names of these tests: the
# others of the same packages have run as unit tests.
integration_files = $$(git grep -lE --untracked '^//go:build .*\<integration\>' -- '*_test.go')
# Those that take longest begin first, or one would run alone at the end. Some of them
# mostly wait: hence more side by side than most machines have cores.
integration_first := $(addprefix ./,jobs/backup pkg/store pkg/install jobs/restore pkg/cli pkg/snapshot/csi jobs/restore/roundtrip)

test-integration: $(REPORT) ## tests against a real API server and a real S3 server
	@$(REPORT) reset integration
	@trap '$(MAKE) --no-print-directory sweep' EXIT; \
	packages=$$({ printf '%s\n' $(integration_first); for f in $(integration_files); do echo ./$$(dirname $$f); done; } | awk '!seen[$$0]++'); \
	names=$$(sed -nE 's/^func (Test[A-Z0-9_][A-Za-z0-9_]*)\(.*/\1/p' $(integration_files) | grep -v '^TestMain$$' | sort -u | paste -sd '|'); \
	$(REPORT) test integration go test -json -p 3 -parallel 6 -vet off -timeout 20m -count 1 -tags integration -run "^($$names)$$" $$packages || true; \
	$(REPORT) close integration

test-e2e: $(REPORT) ## tests on a real cluster with real Jobs; KEEP=1 leaves its two clusters up
	@$(REPORT) reset e2e
	@trap '[ "$${KEEP:-}" = 1 ] || $(MAKE) --no-print-directory sweep' EXIT; \
	$(REPORT) test e2e go -C testdata/cluster test -json -timeout 10m -count 1 -tags cluster . || true; \
	$(REPORT) test e2e go -C testdata/csi test -json -timeout 10m -count 1 -tags cluster -run '^TestSanity$$' ./driver || true; \
	$(REPORT) test e2e go -C $(E2E) test -json -timeout 40m -parallel 8 -count 1 -tags e2e ./tests || true; \
	$(REPORT) close e2e

# Their seeds run with the unit tests. An input that fails is kept in
# testdata/fuzz beside its test, and is a seed from then on.
FUZZTIME ?= 1m
fuzz: ## run every fuzz target for FUZZTIME, a minute by default
	@failed=; \
	for file in $$(git grep -lE --untracked '^func Fuzz[A-Z]' -- '*_test.go'); do \
		for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/p' $$file); do \
			echo "== $$(dirname $$file) $$name"; \
			go -C $$(dirname $$file) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5s . || failed="$$failed $$name"; \
		done; \
	done; \
	[ -z "$$failed" ] || { echo "failed:$$failed"; exit 1; }

.PHONY: sweep
# Tests take down their clusters themselves, but for those that were killed. The
# quiet one uses the other's storage, so it goes first.
sweep:
	@for c in $(STATE)/clusters/$(or $(E2E_NAME),e2e){-quiet,} $(STATE)/clusters/test-*; do \
		[ ! -d $$c ] || $(STATE)/bin/cluster down --name $${c##*/}; done

# It builds the executor as a release does, and only that.
bench: $(addprefix $(STATE)/bin/,cluster bench uploader bestclient) ## measure backups, restores and uploads against floors: BENCH, OBJECTS, ROUNDS, SECRETS, UPLOAD, STORE, PROFILE, KEEP; see testdata/bench
	@$(BUILD) -o bin/ ./cmd/executor
	@$(STATE)/bin/bench

generate: ## deepcopy functions and CRDs
	go generate ./pkg/apis/...

clean: ## remove what was built, but not what runs
	rm -rf bin dist

# The tools are pinned by nested modules; go decides what is out of date.
.PHONY: $(REPORT) $(addprefix $(STATE)/bin/,bench uploader bestclient cluster demo staticcheck govulncheck)
$(REPORT):
	@go -C $(E2E) build -o $@ ./cmd/testreport
$(STATE)/bin/bench:
	@$(BUILD) -o $@ ./testdata/bench
$(STATE)/bin/uploader:
	@$(BUILD) -o $@ ./testdata/bench/uploader
$(STATE)/bin/bestclient:
	@$(subst go build,go -C testdata/bench/bestclient build,$(BUILD)) -o $@ .
$(STATE)/bin/cluster:
	@go -C testdata/cluster build '-ldflags=-s -w' -o $@ .
$(STATE)/bin/demo:
	@go -C $(E2E) build -o $@ ./cmd/demo
$(STATE)/bin/staticcheck:
	@go -C testdata/tools build -o $@ honnef.co/go/tools/cmd/staticcheck
$(STATE)/bin/govulncheck:
	@go -C testdata/tools build -o $@ golang.org/x/vuln/cmd/govulncheck
