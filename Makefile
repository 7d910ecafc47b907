# gokart. `make up` runs it, `make demo` shows it, `make test` checks it.

DATA ?= .gokart
CONFIG ?= examples

.DEFAULT_GOAL := help
.PHONY: help setup build engine up demo test kafka sim rules crash away rolling fuzz bench pieces

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what the build needs, or say how to
	@deploy/setup.sh

build: setup ## Build gokart for use
	cargo build --locked --release --package gokart

engine: setup ## Fetch the embedded ClickHouse engine, once
	@deploy/chdb/fetch.sh >/dev/null

up: build engine ## Run everything on this machine until Ctrl-C (DATA=.gokart CONFIG=examples)
	@exec deploy/up.sh target/release/gokart up --data $(DATA) --config $(CONFIG)

demo: build engine ## Run everything in a throw-away directory, with real traffic, and show the funnel
	@deploy/demo.sh target/release/gokart

test: ## Run everything that CI runs
	@deploy/test.sh

kafka: ## Run a single-node Apache Kafka in a throw-away directory until Ctrl-C
	@exec deploy/up.sh deploy/kafka/start.sh

sim: ## Simulate the whole pipeline (SEED= replays one story, STEPS= lengthens, STORIES= tells more)
	GOKART_SIM_SEED="$(SEED)" GOKART_SIM_STEPS="$(STEPS)" GOKART_SIM_STORIES="$(STORIES)" \
	    cargo test --locked --package processor --test simulation ends_well -- --nocapture

rules: ## Judge the rules by naive ones over random histories (SEED= begins with one, STEPS= lengthens)
	GOKART_RULES_SEED="$(or $(SEED),1)" GOKART_RULES_STEPS="$(or $(STEPS),1000000)" \
	    cargo test --locked --package rules --test rules the_model_agrees -- --nocapture

crash: engine ## Break a cluster of real processes under load (SEED=1 MINUTES=0 SECONDS=90 RATE=60)
	@deploy/crash.sh --story chaos --seed "$(or $(SEED),1)" --minutes "$(or $(MINUTES),0)" \
	    --seconds "$(or $(SECONDS),90)" --rate "$(or $(RATE),60)"

away: engine ## No Kafka at all for MINUTES=10, under load
	@deploy/crash.sh --story away --seed "$(or $(SEED),1)" --rate "$(or $(RATE),60)" \
	    --seconds "$$(($(or $(MINUTES),10) * 60))"

rolling: engine ## Replace every process under load, by OTHER=another gokart binary
	@deploy/crash.sh --story rolling --seed "$(or $(SEED),1)" --rate "$(or $(RATE),60)" \
	    $(if $(OTHER),--other-binary "$(OTHER)")

fuzz: ## Fuzz what strangers and operators send, SECONDS=30 each target
	@fuzz/run.sh "$(or $(SECONDS),30)"

bench: setup engine ## Measure against the baselines (ONLY=area,… RUNS=5 SCALE=1 MINUTES=10), into bench/results.md
	cargo build --locked --release --package gokart --package loadtest --package bench --package tests
	target/release/bench $(if $(ONLY),--only $(ONLY)) $(if $(RUNS),--runs $(RUNS)) \
	    $(if $(SCALE),--scale $(SCALE)) $(if $(MINUTES),--minutes $(MINUTES))

pieces: setup ## Time each piece of a postback's way, alone
	cargo bench --locked --package bench --bench pieces
