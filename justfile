# What people run. `./dev RECIPE` installs what a recipe needs and then comes here.

set positional-arguments

# List the recipes.
[private]
default:
    @just --list --unsorted

# Install the tools that the other recipes need; quick where they are there.
[group('start')]
setup:
    @./dev setup

# Build the binary and the built-in plugins.
[group('start')]
build *ARGS:
    cargo build --package lakeport-cli "$@"

# In the development profile, whose dependencies are optimised. `test` builds some of them once more: for the whole workspace and its
# tests, cargo turns on more of their features.
# Export the example signals into examples/signals/lake and show what is there. A second run finds nothing new.
[group('start')]
demo: build
    cargo run --quiet --package lakeport-cli -- run examples/signals/lakeport.toml
    @echo
    @echo "examples/signals/lake:"
    @cd examples/signals/lake && find . -path ./_lakeport -prune -o -type f -print | sort | xargs wc -lc
    @echo
    @echo "the first line of the first file:"
    @cd examples/signals/lake && find . -path ./_lakeport -prune -o -type f -print | sort | head -n 1 | xargs head -n 1
    @echo
    @echo "refused, and kept:"
    @cargo run --quiet --package lakeport-cli -- dead-letters examples/signals/lakeport.toml

# Pass all tests; arguments go to `cargo test`.
[group('check')]
test *ARGS:
    cargo test --workspace "$@"

# Pass all tests with every repetition of the long ones: each fault, each kill, each seed. `just soak 30` runs 30 % of them, `just soak 30 chaos::` of those tests only.
[group('check')]
soak SHARE="100" *ARGS:
    share="$1"; shift; LAKEPORT_SOAK="$share" cargo test --workspace -- "$@"

# Run the tests and accept what they print as the new expected output.
[group('check')]
bless *ARGS:
    LAKEPORT_BLESS=1 cargo test --workspace "$@"

# Check formatting and lints; warnings fail.
[group('check')]
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- --deny warnings

# Check that the API documentation builds, and that the links between documents lead somewhere.
[group('check')]
docs:
    RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --document-private-items
    .tools/py/bin/python tests/verify/links.py

# Check licences, sources and banned crates of everything in the lock file.
[group('check')]
deny: _cargo-deny
    .tools/bin/cargo-deny --all-features check bans licenses sources

# Check the lock file against the advisory database, which comes from the network.
[group('check')]
audit: _cargo-deny
    .tools/bin/cargo-deny --all-features check advisories

# What continuous integration runs besides the tests.
[group('check')]
ci: lint docs deny

# Format everything.
[group('work')]
fmt:
    cargo fmt --all

# Measure against other tools; arguments go to bench/run.py.
[group('work')]
bench *ARGS:
    .tools/py/bin/python bench/run.py "$@"

# Built from source, once and without optimising it: no registry that `./dev` may use has it ready.
_cargo-deny:
    @.tools/bin/cargo-deny --version 2>/dev/null | grep -qx 'cargo-deny 0.20.2' \
        || CARGO_PROFILE_DEV_DEBUG=none cargo install cargo-deny@0.20.2 --debug --locked --quiet --root .tools
