# Two commands: `make run` shows the main job, `make test` runs the whole suite. Both install what they need.
CARGO ?= PATH="$$PATH:$$HOME/.cargo/bin" cargo

.PHONY: run test sdk-test torture-edge setup build bench lint

run: setup build
	@target/release/hookgate demo --config config.example.yaml || [ $$? = 130 ] # Ctrl-C is how it ends

test: setup
	$(CARGO) test --locked

# Real SDKs from PyPI and npm against a real gate; not part of `make test`, which needs no network.
sdk-test: setup
	$(CARGO) build --locked
	@tests/sdk/run.sh

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
