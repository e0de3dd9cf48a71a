# Two commands: `make run` shows the main job, `make test` runs the whole suite. Both install what they need.
CARGO ?= PATH="$$PATH:$$HOME/.cargo/bin" cargo

.PHONY: run test sdk-test setup build bench lint

run: setup build
	@target/release/hookgate demo --config config.example.yaml || [ $$? = 130 ] # Ctrl-C is how it ends

test: setup
	$(CARGO) test --locked

# Real SDKs from PyPI and npm against a real gate; not part of `make test`, which needs no network.
sdk-test: setup
	$(CARGO) build --locked
	@tests/sdk/run.sh

setup:
	@tools/setup

build:
	@tools/build

bench: setup
	$(CARGO) bench --locked

lint: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
