# `make run` shows the main job, `make check` is the quick loop, `make test` runs the whole suite. Each installs what it needs.
CARGO ?= PATH="$$PATH:$$HOME/.cargo/bin" cargo

.PHONY: run check test sdk-test api-test torture torture-fleet torture-edge fuzz setup build bench bench-check bench-baseline

run: setup build
	@target/release/hookgate demo --config config.example.yaml --sending demo/config.yaml || [ $$? = 130 ] # Ctrl-C ends it

# Formatting, lints and the tests of the library.
check:
	@tools/setup test
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked --lib

# Many tests wait for a timer, so more of them run at once than there are cores.
TEST_THREADS ?= $(shell expr 1 + $$(getconf _NPROCESSORS_ONLN))
test:
	@tools/setup test
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --locked
	@if [ "$$(uname)" = Linux ]; then tests/store/postgres/run.sh; fi

# Real SDKs from PyPI and npm against a real gateway; not part of `make test`, which needs no network.
sdk-test: setup
	$(CARGO) build --locked
	@tests/sdk/run.sh

# Kills release builds a thousand times under load, or `KILLS=N` times: one that receives and one that sends. Others are killed a part as often
# while they resume, recover, notify the app, or seal secrets again. About half an hour.
KILLS ?= 1000
torture: setup build
	HOOKGATE_BINARY=$(CURDIR)/target/release/hookgate HOOKGATE_KILLS=$(KILLS) $(CARGO) test --locked --test it -- --nocapture queue_crash outbound_crash outbound_notices reseal

# The long form of the tests of the store on PostgreSQL: servers and gateways that are killed, lost, hang, or have no room, on the distribution's server
# and on a newer one. KILLS=N, HOOKGATE_WAITING=N, NEWER=DIR: see the script. About an hour.
torture-fleet: build
	@tools/setup test
	HOOKGATE_BINARY=$(CURDIR)/target/release/hookgate KILLS=$(KILLS) tests/store/postgres/torture.sh

# Sends what the documents of the admin API and of the app's API allow, and what they do not, to a real gateway; schemathesis comes from PyPI.
api-test: setup
	$(CARGO) build --locked
	@tests/api/run.sh
	@tests/api/outbound.sh

# Floods, smuggling tricks and known attack tools against a release build: about ten minutes, tables in Markdown.
torture-edge: setup build
	@tools/torture

setup:
	@tools/setup

build:
	@tools/build

bench: setup
	$(CARGO) bench --locked

# Compares the instructions and allocations of a request with the committed baseline, or renews it. On Linux, x86-64.
# Built like `make test` but without debug information, which valgrind would read at each start: a build with optimisations takes ten times as long.
BENCH_SPINE = CARGO_INCREMENTAL=0 $(CARGO) bench --locked --profile dev --config profile.dev.debug=false --bench spine --
bench-check:
	@tools/setup bench
	$(BENCH_SPINE) --check

bench-baseline:
	@tools/setup bench
	$(BENCH_SPINE) --write

# Runs each fuzz target for SECONDS, from the committed seeds; findings are written to fuzz/artifacts.
SECONDS ?= 600
fuzz: setup
	@command -v cargo-fuzz >/dev/null || PATH="$$PATH:$$HOME/.cargo/bin" command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	@set -e; cd fuzz; for target in config events template lists target framing proxy endpoint_url publish; do \
		mkdir -p corpus/$$target; \
		$(CARGO) fuzz run -s none $$target corpus/$$target seeds/$$target -- -max_total_time=$(SECONDS) -max_len=4096 -print_final_stats=1; \
	done
