#!/bin/sh
# Fetches the sources of all dependencies, so that `cargo build --offline` works from then on.
#
#     scripts/vendor.sh           fill vendor/, and point cargo there by .cargo/config.toml
#     scripts/vendor.sh --clean   undo that
#
# Nothing of it is committed. Crates that no target of ours builds (other systems' bindings) keep
# their manifest, which cargo wants to see, and lose their sources.
set -eu
cd "$(dirname "$0")/.."

config=.cargo/config.toml
mark='# Written by scripts/vendor.sh'
targets='x86_64-unknown-linux-musl aarch64-unknown-linux-musl'

main() {
    case ${1-} in
    '') ;;
    --clean) clean; exit 0 ;;
    *) echo "vendor.sh: unknown argument: $1" >&2; exit 2 ;;
    esac
    if ! command -v cargo >/dev/null 2>&1; then
        echo 'cargo is missing: install Rust from https://rustup.rs and run this again' >&2
        exit 1
    fi
    clean
    fresh=$(mktemp -d vendor/.fresh.XXXXXX)
    trap 'rm -rf "$fresh"' EXIT
    cargo vendor --quiet --locked --versioned-dirs --respect-source-config "$fresh/all" \
        >"$fresh/log"
    built >"$fresh/built"
    for crate in "$fresh"/all/*; do
        grep -qxF "${crate##*/}" "$fresh/built" || hollow "$crate"
        mv "$crate" vendor/
    done
    write_config
    echo "vendor: $(wc -l <"$fresh/built") crates in full, $(du -sh vendor | cut -f 1)"
}

clean() {
    if [ -e "$config" ]; then
        if ! head -n 1 "$config" | grep -qxF "$mark"; then
            echo "$config is not ours: move it away and run this again" >&2
            exit 1
        fi
        rm "$config"
        rmdir .cargo 2>/dev/null || true
    fi
    find vendor -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
}

# The crates, as name-version, that are compiled for our targets, for this machine or in tests.
built() {
    host=$(rustc -vV | sed -n 's/^host: //p')
    set -- --target "$host"
    for target in $targets; do set -- "$@" --target "$target"; done
    cargo tree --quiet --locked --edges normal,build,dev --prefix none --format '{p}' "$@" |
        sed -n 's/^\([^ ]*\) v\([^ ]*\).*/\1-\2/p' | sort -u
}

# Leaves the manifest, an empty file for each that it names, and the checksum of the package.
hollow() {
    sum=$(sed -n 's/.*"package":"\([0-9a-f]*\)".*/\1/p' "$1/.cargo-checksum.json")
    find "$1" -mindepth 1 -maxdepth 1 ! -name Cargo.toml -exec rm -rf {} +
    printf '{"files":{},"package":"%s"}' "$sum" >"$1/.cargo-checksum.json"
    { echo src/lib.rs; sed -n 's/^\(path\|build\) = "\(.*\)"$/\2/p' "$1/Cargo.toml"; } |
        while read -r file; do
            mkdir -p "$1/$(dirname "$file")"
            : >"$1/$file"
        done
}

write_config() {
    mkdir -p .cargo
    cat >"$config" <<END
$mark
# Cargo reads crates from vendor/ alone. Undone by: scripts/vendor.sh --clean

[source.crates-io]
replace-with = "vendor"

[source.vendor]
directory = "vendor"
END
}

main "$@"
