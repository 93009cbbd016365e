#!/bin/sh
# Makes the testbed's images where they are missing, and does nothing where they are there:
#
#   convocate-testbed/base:bookworm   a minimal Debian 12, made with debootstrap
#   convocate:VERSION                 the session image, built on it
#
# Needs root, a Docker engine and the machine's own package sources. Nothing is ever removed.
# Safe to run twice at once: one run waits for the other.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
image_files=$here/../../src/agent/image
base=convocate-testbed/base:bookworm
session=$("$here/session-image.sh")

# A session image is as old as the files that it was built from; their hash is its label.
hash=$(cd "$image_files" && cat Dockerfile entrypoint.sh pane.sh tmux.conf | sha256sum | cut -c1-16)

base_is_there() {
    docker image inspect "$base" >/dev/null 2>&1
}

session_is_there() {
    label='{{index .Config.Labels "convocate.testbed.hash"}}'
    [ "$(docker image inspect -f "$label" "$session" 2>/dev/null)" = "$hash" ]
}

# The machine's way to its packages goes into the base, so that a container's apt works like ours.
import_base() {
    if ! command -v debootstrap >/dev/null; then
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends debootstrap
    fi
    root=$work/root
    mkdir "$root"
    quietly debootstrap --variant=minbase bookworm "$root"
    rm -f "$root"/var/cache/apt/archives/*.deb "$root"/etc/apt/sources.list
    for part in sources.list sources.list.d apt.conf.d; do
        if [ -e "/etc/apt/$part" ]; then
            rm -rf "$root/etc/apt/$part"
            cp -RL "/etc/apt/$part" "$root/etc/apt/$part"
        fi
    done
    tar -C "$root" --numeric-owner -cf "$work/root.tar" .
    quietly docker import --change 'CMD ["/bin/bash"]' "$work/root.tar" "$base"
}

build_session() {
    DOCKER_BUILDKIT=0 quietly docker build --build-arg "BASE=$base" \
        --label "convocate.testbed.hash=$hash" -t "$session" "$image_files"
}

# Says what a command said only if it fails.
quietly() {
    if ! "$@" >"$work/log" 2>&1; then
        tail -n 40 "$work/log" >&2
        exit 1
    fi
}

if base_is_there && session_is_there; then
    exit 0
fi
exec 9>"${TMPDIR:-/tmp}/convocate-testbed-images.lock"
flock 9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! base_is_there; then
    import_base
fi
if ! session_is_there; then
    build_session
fi
