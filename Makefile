# Herald's targets. Go, git, make and a C compiler are assumed; everything else is a pinned Go tool (tools/go.mod,
# tools/lint/go.mod) or a Debian package that tools/setup.sh installs where it may.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The version is kept in config/default/kustomization.yaml, where the images' tags are.
VERSION := $(shell sed -n 's/.*newTag: &version //p' config/default/kustomization.yaml)
# In full, as the length of an abbreviation depends on the clone.
COMMIT  := $(shell git describe --always --dirty --exclude '*' --abbrev=40 2>/dev/null || echo unknown)
# Images are dated to the commit, so that one commit gives one digest.
EPOCH   := $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

IMAGES  := ghcr.io/herald-lb
PACKAGE := github.com/herald-lb/herald/internal/version
STATIC  := CGO_ENABLED=0 go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X $(PACKAGE).Version=$(VERSION) -X $(PACKAGE).Commit=$(COMMIT)"

# How long each fuzz target runs.
FUZZTIME ?= 30s
# Packages of the root module with tests that need root and network namespaces of their own.
E2E_PACKAGES = $(addprefix ./,$(sort $(dir $(shell grep -rlx '//go:build e2e' --include='*_test.go' api controller internal speaker 2>/dev/null))))

CONTROLLER_GEN := go tool -modfile=tools/go.mod controller-gen
KUSTOMIZE      := go tool -modfile=tools/go.mod kustomize
TOOLS          := $(CURDIR)/tools
CHART          := config/charts/herald

##@ Build

.PHONY: help
help: ## List the targets (default)
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: binaries ## Build the static binaries into build/bin: controller, speaker, lab
	cd e2e && $(STATIC) -o ../build/bin/ ./cmd/lab

.PHONY: binaries
binaries:
	$(STATIC) -o build/bin/ ./controller ./speaker

.PHONY: image
image: image-archives ## Write OCI archives into build/images; also docker or podman images where an engine answers
	tools/engine-image.sh $(IMAGES) $(VERSION) $(COMMIT)

# The lab loads these. They are made from the binaries alone, without a container engine.
.PHONY: image-archives
image-archives: binaries
	mkdir -p build/images
	cd tools && go build -o ../build/bin/ ./ociimage
	build/bin/ociimage -binary build/bin/controller -path /controller -user 65534:65534 -name $(IMAGES)/controller:$(VERSION) \
		-commit $(COMMIT) -epoch $(EPOCH) -output build/images/controller.tar
	build/bin/ociimage -binary build/bin/speaker -path /speaker -user 0:0 -name $(IMAGES)/speaker:$(VERSION) \
		-commit $(COMMIT) -epoch $(EPOCH) -output build/images/speaker.tar

.PHONY: generate
generate: ## Generate deepcopy functions and CRDs from the types in api/
	$(CONTROLLER_GEN) object paths=./api/...
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases

.PHONY: manifests
manifests: ## Render config/manifests: herald.yaml, the one file that installs Herald, and additions to it
	mkdir -p config/manifests
	$(KUSTOMIZE) build config/default --output config/manifests/herald.yaml
	$(KUSTOMIZE) build config/prometheus --output config/manifests/herald-prometheus.yaml
	$(KUSTOMIZE) build config/networkpolicies --output config/manifests/herald-networkpolicies.yaml

# Definitions, roles and so on have one source, config/. The chart has copies, as what is outside of it a template cannot read.
.PHONY: chart
chart: ## Copy into the chart what it has in common with the manifests
	mkdir -p $(CHART)/files/rbac $(CHART)/charts/crds/templates
	$(KUSTOMIZE) build config/charts/crds --output $(CHART)/charts/crds/templates/crds.yaml
	cp config/rbac/{controller,speaker,metrics-reader}.yaml $(CHART)/files/rbac
	cp config/controllers/excludel2.yaml config/webhook/webhook.yaml $(CHART)/files
	cp config/dashboards/herald.json $(CHART)/files/dashboard.json
	sed -i -e 's/^version: .*/version: $(VERSION:v%=%)/' -e 's/^appVersion: .*/appVersion: $(VERSION)/' $(CHART)/Chart.yaml

.PHONY: clean
clean: ## Remove build/
	rm -rf build

##@ Test

.PHONY: test
test: packages lint test-unit ## Run all checks: lint, unit tests, short fuzzing, end-to-end tests (as root)
	$(MAKE) fuzz FUZZTIME=3s
	$(MAKE) test-e2e

# Unit tests try the alerts where Debian's promtool is, and only root can install it.
.PHONY: packages
packages:
	[ "$$(id -u)" != 0 ] || tools/setup.sh

.PHONY: test-unit
test-unit: ## Run the unit tests with the race detector: no root, no network
	go test -race ./...
	cd tools && go test -race ./...
	cd tools/helm && go test ./...
	cd e2e && go test -race ./...

.PHONY: test-e2e
test-e2e: ## Run the end-to-end tests in a cluster of network namespaces (root)
	@[ "$$(id -u)" = 0 ] || { echo "make test-e2e builds a cluster of network namespaces, which takes root: run it with sudo." >&2; exit 1; }
	tools/setup.sh
	$(MAKE) build image-archives manifests chart
	$(if $(E2E_PACKAGES),go test -tags e2e -count=1 -p 1 -timeout 10m $(E2E_PACKAGES))
	cd e2e && go test -tags e2e -count=1 -p 1 -timeout 40m ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (30s) each
	tools/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: build image-archives ## Run the Go benchmarks and measure the figures in the lab (root)
	go test -run '^$$' -bench . -benchmem ./...
	cd e2e && go run ./cmd/bench && go run ./cmd/bench-controller && go run ./cmd/bench-bgp

.PHONY: chaos
chaos: build ## Make 1,000 faults while Services come and go, and look whether any promise is broken; CHAOS="-seed N -faults N" (root)
	cd e2e && go run ./cmd/chaos $(CHAOS)

##@ Demo

.PHONY: demo
demo: build image-archives ## Start a cluster, install Herald, watch an address move; leaves the cluster up (root)
	cd e2e && go run ./cmd/demo

.PHONY: demo-down
demo-down: ## End the demo's cluster
	cd e2e && go run ./cmd/lab down

##@ Lint

.PHONY: lint
lint: lint-go lint-imports lint-generated lint-vulnerabilities ## Check formatting, code, imports, generated files and known vulnerabilities

.PHONY: format
format: ## Format the Go code with gofumpt
	tools/lint.sh fmt . e2e tools tools/helm

.PHONY: lint-go
lint-go:
	tools/lint.sh run . e2e tools tools/helm

# Never from the test cache, which does not see what the other packages import.
.PHONY: lint-imports
lint-imports:
	go test -count=1 .

.PHONY: lint-generated
lint-generated:
	tools/fresh.sh

.PHONY: lint-vulnerabilities
lint-vulnerabilities:
	tools/vulnerabilities.sh . e2e
