# Two commands: `make run` shows the main job, `make test` runs the whole suite. Both install what they need.
CARGO ?= PATH="$$PATH:$$HOME/.cargo/bin" cargo

.PHONY: run test setup build bench lint

run: setup build
	@target/release/hookgate demo --config config.example.yaml

test: setup
	$(CARGO) test --locked

setup:
	@tools/setup

build:
	@tools/build

bench: setup
	$(CARGO) bench --locked

lint: setup
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
