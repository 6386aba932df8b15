# Run make for a list of the targets.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
TOOL    := $(GO) tool -modfile=tools/go.mod
ADDR    ?= 127.0.0.1:8080
# Installs what package-lock.json names, unless the same was installed before.
NPM_CI  := { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund; }

.DEFAULT_GOAL := help
.PHONY: help run build test test-all bench fuzz lint fmt verify generate contract browser streams typescript web demo crashes growth soak receivers release packaging reference

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/imapi and bin/imapi-load
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...

run: build ## Build and run the server, with its data in ./data
	bin/imapi serve --listen $(ADDR)

# Many tests wait for the disk, a timer or another process: with two cores, four packages and
# four tests of each at once keep both busy. With -trimpath the tests, the servers that they
# build and other checkouts share what is compiled. `make lint` vets.
TESTS := $(GO) test -race -vet=off -p 4 -parallel 4
test test-all: export GOFLAGS := $(GOFLAGS) -trimpath
test: ## Run the tests with the race detector; models and loops of kills take fewer steps
	$(TESTS) -short -timeout 20m ./...

test-all: ## Run the tests with the race detector at full length
	$(TESTS) -timeout 60m ./...

bench: ## Run the benchmarks; both sides of a ratio in one run
	$(GO) test -run '^$$' -bench . -benchtime 2s -timeout 30m ./...

# A number of runs, not a duration: before Go 1.27 the end of a duration is sometimes
# reported as a failure of the target (golang/go#75804). Minimizing is bounded, too: by
# default each finding may take a minute.
FUZZTIME ?= 50000x
fuzz: ## Fuzz each target for FUZZTIME
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; \
	    $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$pkg; \
	  done; done

typescript: build ## Build and test clients/typescript, also as a package and in Chromium (Node.js, Chromium)
	cd clients/typescript && $(NPM_CI) && npm run check && npm run build && npm test

crashes: ## Kill the server 100 times while it erases, and cut the power 300 times
	$(GO) test -count 1 -timeout 30m -run ForensicsKilled ./cmd/imapi -kills 100
	$(GO) test -count 1 -timeout 30m -run "PowerCuts$$" ./storage/sqlite -cuts 300

GROWTH ?= 1000000
growth: ## Measure operations among up to GROWTH messages, and draw docs/growth.svg
	$(GO) test -count 1 -timeout 0 -v -run 'Growth$$' ./cmd/imapi -growth $(GROWTH) $(if $(GROWTH_DIR),-growth-dir $(GROWTH_DIR)) -growth-chart $(CURDIR)/docs/growth.svg

SOAK ?= 60s
SOAK_RATE ?= 150
soak: ## Put a mixed load on a server for SOAK (30m is a real one), and look for what grows
	$(GO) test -count 1 -timeout 0 -v -run 'Soak$$' ./cmd/imapi-load -soak $(SOAK) -soak-rate $(SOAK_RATE)

# golangci-lint fails on cgo if a file that the build cache has under -trimpath is from
# a checkout that has moved.
lint fmt: export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS))
lint: ## Check formatting and run the linters of .golangci.yml
	$(GO) tool -modfile=tools/golangci/go.mod golangci-lint run ./...

fmt: ## Format the code
	$(GO) tool -modfile=tools/golangci/go.mod golangci-lint fmt

release: ## Write archives for linux/amd64 and linux/arm64, with checksums, into dist
	VERSION=$(VERSION) packaging/release.sh dist

packaging: ## Test the archives, the container, the unit, the alerts, nginx and Caddy (see .ci/run for packages)
	packaging/test.sh

generate: ## Generate code from api/openapi.yaml
	cat api/overlay.yaml api/overlay_server.yaml | $(TOOL) oapi-codegen -config api/config.yaml api/openapi.yaml
	$(TOOL) oapi-codegen -config client/config.yaml api/openapi.yaml
	$(GO) run api/contract_gen.go

verify: generate ## Check that generated code and go.mod are current
	$(GO) mod tidy -diff
	git diff --exit-code -- api/api.gen.go api/contract.json client/client.gen.go
	@test -z "$$(git ls-files -o --exclude-standard -- api client)" || { git ls-files -o --exclude-standard -- api client; exit 1; }

CONTRACT := cd test/contract && mkdir -p generated/oapi generated/ogen &&
contract: build ## Lint the OpenAPI document, and test clients and servers of other generators (Node.js, Java)
	$(CONTRACT) $(GO) tool oapi-codegen -generate types,client,chi-server,strict-server -package oapi -o generated/oapi/oapi.gen.go ../../api/openapi.yaml
	$(CONTRACT) $(GO) tool ogen -config ogen.yml -loglevel error -target generated/ogen -package ogen -clean ../../api/openapi.yaml
	$(CONTRACT) $(GO) build -o generated/ ./...
	cd test/web && $(NPM_CI) && npm run contract

web: ## Build the demo page in web/dist (Node.js)
	cd web && $(NPM_CI) && npm run types && npm run build

demo: web build ## Check that web/dist is current, and drive the demo page with Chromium (Node.js, Chromium)
	git diff --exit-code -- web/dist
	@test -z "$$(git ls-files -o --exclude-standard -- web/dist)" || { git ls-files -o --exclude-standard -- web/dist; exit 1; }
	cd test/web && $(NPM_CI) && npm run demo

reference: build ## Check the renderer of the reference against npm, and drive it with Chromium (Node.js, Chromium)
	node web/reference/vendor.mjs --check
	cd test/web && $(NPM_CI) && npm run reference

browser: build ## Test with Chromium while the server is killed, also behind nginx (Node.js, Chromium, nginx)
	cd test/web && $(NPM_CI) && npm run browser

receivers: ## Run the programs in docs/guide.md, docs/webhooks.md and docs/presend.md (Node.js, Python)
	$(GO) test -count 1 -timeout 10m -run "Receivers|Guide" ./cmd/imapi -receivers

streams: build ## Test libraries for event streams: none may dispatch a heartbeat (Node.js)
	cd test/web && $(NPM_CI) && npm run streams
	cd test/streams && $(GO) test -count 1 -timeout 5m ./...
