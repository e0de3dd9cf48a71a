# Two commands: `make run` shows the main job, `make test` runs the whole suite. Both install what they need.
CARGO ?= PATH="$$PATH:$$HOME/.cargo/bin" cargo

.PHONY: run test sdk-test api-test torture torture-edge fuzz setup build bench lint

run: setup build
	@target/release/hookgate demo --config config.example.yaml || [ $$? = 130 ] # Ctrl-C is how it ends

test:
	@tools/setup test
	$(CARGO) test --locked

# Real SDKs from PyPI and npm against a real gate; not part of `make test`, which needs no network.
sdk-test: setup
	$(CARGO) build --locked
	@tests/sdk/run.sh

# A gate as it is released is killed a thousand times under load; `KILLS=N` says another number. About ten minutes.
KILLS ?= 1000
torture: setup build
	HOOKGATE_BINARY=$(CURDIR)/target/release/hookgate HOOKGATE_KILLS=$(KILLS) $(CARGO) test --locked --test it queue_crash -- --nocapture

# The admin API's document, asked for everything it allows and does not, against a real gate; schemathesis comes from PyPI.
api-test: setup
	$(CARGO) build --locked
	@tests/api/run.sh

# Floods, the corpus of tricks and known tools against a release build: about ten minutes, tables in Markdown.
torture-edge: setup build
	@tools/torture

setup:
	@tools/setup

build:
	@tools/build

bench: setup
	$(CARGO) bench --locked

lint: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

# Each fuzz target for so many seconds, from the committed seeds; what is found is written to fuzz/artifacts.
SECONDS ?= 600
fuzz: setup
	@command -v cargo-fuzz >/dev/null || PATH="$$PATH:$$HOME/.cargo/bin" command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	@set -e; cd fuzz; for target in config template lists target framing proxy; do \
		mkdir -p corpus/$$target; \
		$(CARGO) fuzz run -s none $$target corpus/$$target seeds/$$target -- -max_total_time=$(SECONDS) -max_len=4096 -print_final_stats=1; \
	done
