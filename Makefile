# Everything that is done with this repository, from a machine with git, curl and make. Each target sets up what it needs
# or says the one command that does. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Where rustup puts cargo; a fresh installation is not in the shell's PATH yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

SETUP := scripts/setup.sh
CARGO := cargo
# The tests that start an API server, on top of those that need nothing.
APISERVER := penstock-controller/apiserver-tests,penstock-testkit/cluster
# Seconds that `make fuzz` gives to each target.
SECONDS_EACH ?= 60
# For `make e2e`: local brings up a cluster of its own; otherwise KUBECONFIG says which.
CLUSTER ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Serve a web page and a chat behind a gateway on this machine
	@$(SETUP) rust cc
	@$(CARGO) build --locked -p penstock
	@exec "$${CARGO_TARGET_DIR:-target}/debug/penstock" demo

.PHONY: build
build: ## Build target/release/penstock
	@$(SETUP) rust cc
	$(CARGO) build --locked --release -p penstock

.PHONY: check
check: check-version check-rust check-fuzz check-crds check-reference check-links check-charts check-docs ## Formatting, lints, generated files, what links what: everything but tests

.PHONY: check-version
check-version:
	scripts/version.sh --check

.PHONY: check-rust
check-rust:
	@$(SETUP) rust cc
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets --all-features -- -D warnings

# Compiled, not linked: that needs neither a nightly compiler nor the library, which is in C++.
.PHONY: check-fuzz
check-fuzz:
	@$(SETUP) rust cc
	CUSTOM_LIBFUZZER_PATH=/none/libfuzzer.a $(CARGO) check --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz

.PHONY: check-crds
check-crds:
	@$(SETUP) rust cc
	@rm -rf target/crds
	$(CARGO) run --locked --quiet -p penstock -- crds --dir target/crds
	@diff -ru crds target/crds || { echo "crds/ differs from the types: run make crds and commit the result" >&2; exit 1; }
	charts/sync-crds.sh --check

.PHONY: check-reference
check-reference:
	@$(SETUP) rust cc yaml
	@$(CARGO) build --locked --quiet -p penstock
	scripts/reference.py --check "$${CARGO_TARGET_DIR:-target}/debug/penstock"

.PHONY: check-links
check-links:
	@$(SETUP) rust cc
	scripts/check-links.sh
	@if cargo deny --version >/dev/null 2>&1; then \
	  echo "cargo deny check bans licenses sources"; cargo deny check bans licenses sources; \
	else echo "not asked: cargo-deny is not installed (cargo install --locked cargo-deny); scripts/check-links.sh has checked the links"; fi

.PHONY: check-charts
check-charts:
	@PATH=$${CLUSTER_BIN:-$${XDG_CACHE_HOME:-$$HOME/.cache}/penstock-cluster/bin}:$$PATH; \
	if command -v helm >/dev/null; then echo "charts/render.sh --check"; charts/render.sh --check; \
	else echo "not asked: helm is not installed (tests/cluster/cluster build); make charts tests the charts"; fi

.PHONY: check-docs
check-docs:
	scripts/check-docs.sh

.PHONY: test
test: test-local test-apiserver ## All tests but end-to-end: first those that need nothing, then those with an API server

.PHONY: test-local
test-local: ## Unit, golden and process tests; they need nothing
	@$(SETUP) rust cc
	@echo "== tests that need nothing"
	$(CARGO) test --locked --workspace

.PHONY: test-apiserver
test-apiserver: ## Tests with etcd and a real API server; no root
	@$(SETUP) rust cc openssl
	@echo "== tests with an API server: its binaries are fetched or built once, which may take minutes"
	tests/cluster/cluster build --apiserver
	$(CARGO) test --locked --workspace --features $(APISERVER) --test apiserver

.PHONY: charts
charts: ## Test the charts; with KUBECONFIG also against that API server
	@$(SETUP) yaml
	tests/charts/run.sh $${KUBECONFIG:+--cluster}

.PHONY: e2e
e2e: ## End-to-end tests in a cluster: CLUSTER=local brings its own (root), else KUBECONFIG
	@[[ -x tests/e2e/run.sh ]] || { echo "tests/e2e/run.sh is missing: there are no end-to-end tests in this checkout" >&2; exit 1; }
	@$(SETUP) rust cc podman $(if $(filter local,$(CLUSTER)),openssl node)
	@CLUSTER="$(CLUSTER)" tests/e2e/run.sh

.PHONY: h2spec
h2spec: ## Test HTTP/2 with h2spec against the built binary; needs Go
	@$(SETUP) rust cc openssl
	@$(CARGO) build --locked -p penstock
	tests/h2spec/run.sh

.PHONY: observability
observability: ## Test metrics, alerts and dashboard with a real Prometheus; WRITE=yes writes docs/reference/metrics.md
	@$(SETUP) rust cc openssl yaml prometheus
	@$(CARGO) build --locked -p penstock
	tests/observability/run.sh $(if $(WRITE),--write)

.PHONY: dashboard
dashboard: ## Test the dashboard in a headless Chromium; screenshots go to target/dashboard
	@$(SETUP) rust cc browser
	@$(CARGO) build --locked -p penstock
	tests/dashboard/run.sh

.PHONY: grpc
grpc: ## Test gRPC with the client and server of its C core through the built binary
	@$(SETUP) rust cc openssl venv
	@$(CARGO) build --locked -p penstock
	tests/grpc/run.sh

.PHONY: faults
faults: ## Break backends, networks, processes and an API server under load, and print what clients saw
	@$(SETUP) rust cc openssl
	tests/e2e/faults.sh

.PHONY: soak
soak: ## Twenty minutes of load, changes and faults: what piles up? (FAULTS_SOAK=seconds)
	@$(SETUP) rust cc
	FAULTS_APISERVER=no FAULTS_SOAK=$${FAULTS_SOAK:-1200} tests/e2e/faults.sh soak

.PHONY: rfc8441
rfc8441: ## Test WebSockets over HTTP/2 with a client in Python through the built binary
	@$(SETUP) rust cc openssl venv
	@$(CARGO) build --locked -p penstock
	tests/rfc8441/run.sh

.PHONY: image
image: ## Build the image localhost/penstock:dev with this machine's cargo and podman
	@$(SETUP) rust cc podman
	tests/cluster/image.sh

.PHONY: bench
bench: ## Measure Penstock beside HAProxy, nginx and Envoy (benches/README.md)
	@$(SETUP) rust cc
	benches/run.sh

.PHONY: bench-control
bench-control: ## Measure the way from a write to the API server to the traffic, with up to 20,000 rules; root
	@$(SETUP) rust cc openssl yaml
	benches/control.sh

.PHONY: microbench
microbench: ## Measure parts alone with criterion
	@$(SETUP) rust cc
	@for folder in crates/*/benches; do crate=$$(basename "$$(dirname "$$folder")"); \
	  echo "== $$crate"; $(CARGO) bench --locked -p "penstock-$$crate" --benches; done

.PHONY: attack
attack: ## Print what hostile clients cost in memory
	@$(SETUP) rust cc
	$(CARGO) test --locked --release -p penstock --test memory -- --nocapture

.PHONY: autobahn
autobahn: ## Test WebSockets with the Autobahn suite, through the gateway and directly; QUICK=yes without big messages
	@$(SETUP) rust cc openssl venv
	@$(CARGO) build --locked -p penstock
	tests/autobahn/run.sh $(if $(QUICK),--quick)

.PHONY: fuzz
fuzz: ## Fuzz each target for SECONDS_EACH seconds (60)
	@$(SETUP) rust cc fuzz
	@for target in fuzz/fuzz_targets/*.rs; do name=$$(basename "$$target" .rs); \
	  echo "== $$name, $(SECONDS_EACH) s"; cargo +nightly fuzz run "$$name" -- -max_total_time=$(SECONDS_EACH); done

.PHONY: golden
golden: ## Write the golden files of the translation anew; look at the difference before you commit it
	@$(SETUP) rust cc
	UPDATE_GOLDEN=1 $(CARGO) test --locked -p penstock-translate

.PHONY: crds
crds: ## Generate crds/ and the chart's copy from the types
	@$(SETUP) rust cc
	$(CARGO) run --locked --quiet -p penstock -- crds --dir crds
	charts/sync-crds.sh

.PHONY: reference
reference: ## Write docs/reference/ from the code
	@$(SETUP) rust cc yaml
	@$(CARGO) build --locked -p penstock
	scripts/reference.py "$${CARGO_TARGET_DIR:-target}/debug/penstock"
