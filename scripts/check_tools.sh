#!/usr/bin/env bash
# Says which of the tools that building needs are missing, and how to get them. All at once, not one a run.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=0
lack() {
    missing=1
    printf 'missing: %s\n' "$1" >&2
    printf '    get it: %s\n' "$2" >&2
}

# The newest Rust that any locked dependency asks for; kept in Cargo.toml so that cargo says the same.
needed_rust="$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
if ! command -v cargo >/dev/null; then
    lack "Rust (cargo), $needed_rust or newer" "https://rustup.rs, or your system's package manager"
else
    have_rust="$(rustc --version | sed 's/^rustc \([0-9]*\.[0-9]*\).*/\1/')"
    oldest="$(printf '%s\n%s\n' "$needed_rust" "$have_rust" | sort -t. -k1,1n -k2,2n | head -n 1)"
    if [ "${oldest%.0}" != "${needed_rust%.0}" ]; then
        lack "Rust $needed_rust or newer (this is $have_rust)" "rustup update"
    fi
fi

command -v cc >/dev/null || command -v clang >/dev/null || command -v gcc >/dev/null ||
    lack "a C compiler (Rust links with it)" "Debian and Ubuntu: apt-get install gcc libc6-dev; macOS: xcode-select --install"

if [ ! -x .venv/bin/python ]; then
    ./scripts/find_python.sh >/dev/null || missing=1
fi

exit "$missing"
