#!/bin/sh
# Makes the images of the testbed's hosts where they are missing or older than their sources:
#
#   convocate-testbed/plain:bookworm    systemd and sshd
#   convocate-testbed/docker:bookworm   the same with a Docker engine
#
# Needs what base-image.sh needs, which it calls. Nothing is ever removed. Two runs at once are
# safe.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
hash=$(cd "$here/host" && cat Dockerfile boot daemon.json | sha256sum | cut -c1-16)

is_there() {
    label='{{index .Config.Labels "convocate.testbed.hash"}}'
    [ "$(docker image inspect -f "$label" "convocate-testbed/$1:bookworm" 2>/dev/null)" = "$hash" ]
}

! is_there plain || ! is_there docker || exit 0
"$here/base-image.sh"
exec 9>"${TMPDIR:-/tmp}/convocate-testbed-hosts.lock"
flock 9
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for kind in plain docker; do
    is_there "$kind" && continue
    if ! DOCKER_BUILDKIT=0 docker build --target "$kind" --label "convocate.testbed.hash=$hash" \
        -t "convocate-testbed/$kind:bookworm" "$here/host" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        exit 1
    fi
done
