#!/bin/sh
# Starts and removes hosts of the testbed: containers with systemd, sshd and a Docker engine.
#
#   host.sh start NAME [KIND]           starts host NAME and waits until systemd has booted: plain,
#                                       docker if no KIND is given, or hypervisor, which is plain
#                                       with what virtual machines need of the kernel
#   host.sh run NAME COMMAND…           runs a command on it, as root
#   host.sh put NAME FILE PATH          copies a file to it
#   host.sh boot-id NAME                prints its boot id
#   host.sh reboot NAME                 reboots it and waits until it is up again
#   host.sh remove NAME                 removes it with its network address and its disk
#
# Everything is called convocate-testbed-NAME, and nothing else is ever touched. The network
# convocate-testbed is made when it is missing, and removed with the last host. Safe to run many at
# once: each waits for its turn at the network.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
network=convocate-testbed
# How long a boot may take, in tenths of a second.
boot_tenths=900

container() {
    case $1 in
    '' | *[!a-z0-9-]*) echo "host.sh: a host's name is of a-z, 0-9 and -: '$1'" >&2; exit 2 ;;
    esac
    echo "convocate-testbed-$1"
}

# The engine would make two networks of one name at once, and take one away that a host is about to
# join.
lock_network() {
    exec 9>"${TMPDIR:-/tmp}/convocate-testbed-network.lock"
    flock 9
}

unlock_network() {
    exec 9>&-
}

start() {
    name=$(container "$1")
    image=${2:-docker} place=/var/lib/docker
    hostname=$1
    set --
    if [ "$image" = hypervisor ]; then
        # Not /dev/kvm: where it opens without a processor behind it, machines hang.
        image=plain place=/var/lib/libvirt
        set -- --device /dev/net/tun
    fi
    "$here/host-image.sh"
    lock_network
    docker network inspect "$network" >/dev/null 2>&1 ||
        docker network create "$network" >/dev/null 2>&1 || true
    # SYS_TIME stays away: a container that has it sets the machine's clock.
    docker run -d --name "$name" --hostname "$hostname" --network "$network" \
        --restart unless-stopped --label convocate.testbed=host \
        --cap-add ALL --cap-drop SYS_RESOURCE --cap-drop SYS_TIME --cap-drop SYS_BOOT \
        --cap-drop SYS_MODULE \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
        --security-opt systempaths=unconfined \
        --device-cgroup-rule 'a *:* rwm' --cgroupns=private -v "$name:$place" \
        --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec "$@" \
        "convocate-testbed/$image:bookworm" >/dev/null
    unlock_network
    await_boot "$name"
}

await_boot() {
    left=$boot_tenths
    while [ "$left" -gt 0 ]; do
        case $(docker exec "$1" systemctl is-system-running 2>/dev/null) in
        running | degraded) return 0 ;;
        esac
        left=$((left - 1))
        sleep 0.1
    done
    echo "host.sh: $1 has not booted; its last words:" >&2
    docker exec "$1" systemctl list-jobs >&2 || docker logs --tail 20 "$1" >&2
    return 1
}

boot_id() {
    docker exec "$1" cat /proc/sys/kernel/random/boot_id 2>/dev/null
}

reboot() {
    before=$(boot_id "$1")
    docker exec "$1" systemctl reboot >/dev/null 2>&1 || true
    left=$boot_tenths
    while [ "$left" -gt 0 ]; do
        now=$(boot_id "$1") || now=
        [ -z "$now" ] || [ "$now" = "$before" ] || break
        left=$((left - 1))
        sleep 0.1
    done
    await_boot "$1"
}

remove() {
    docker rm --force --volumes "$1" >/dev/null 2>&1 || true
    docker volume rm "$1" >/dev/null 2>&1 || true
    lock_network
    docker network rm "$network" >/dev/null 2>&1 || true
}

case ${1-} in
start) start "$2" "${3-}" ;;
run)
    name=$(container "$2")
    shift 2
    exec docker exec -i "$name" "$@"
    ;;
put) docker cp "$3" "$(container "$2"):$4" >/dev/null ;;
boot-id) boot_id "$(container "$2")" ;;
reboot) reboot "$(container "$2")" ;;
remove) remove "$(container "$2")" ;;
*)
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
