#!/bin/sh
# Makes dist/convocate-VERSION-src.tar.gz: the committed sources with their dependencies inside. It
# builds without a network, and two runs on one commit give the same bytes.
set -eu
cd "$(dirname "$0")/.."

main() {
    if ! git rev-parse --verify --quiet HEAD >/dev/null; then
        echo 'release.sh: an archive is made from a git clone, and this is none' >&2
        exit 1
    fi
    [ -z "$(git status --porcelain)" ] || echo 'release.sh: what is not committed is left out' >&2
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    name=convocate-$version
    stage=$(mktemp -d)
    trap 'rm -rf "$stage"' EXIT
    git archive --format=tar --prefix="$name/" HEAD | tar -x -C "$stage"
    "$stage/$name/scripts/vendor.sh"
    mkdir -p dist
    archive=$name-src.tar.gz
    pack "$name" >"dist/$archive"
    (cd dist && sha256sum "$archive" >"$archive.sha256")
    echo "dist/$archive: $(wc -c <"dist/$archive") bytes"
}

# Names sorted, one owner, the commit's time, no time in gzip's header.
pack() {
    tar -c -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
        --mtime="@$(git log -1 --format=%ct)" "$1" | gzip -9n
}

main "$@"
