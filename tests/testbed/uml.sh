#!/bin/sh
# Starts and removes hosts of the testbed that have a kernel of their own: user-mode Linux with
# control groups of version 2, systemd, sshd and a Docker engine that has the session image.
#
#   uml.sh start NAME            starts host NAME, from a fresh disk or from its own, and waits
#                                until systemd has booted
#   uml.sh run NAME COMMAND…     runs a command on it, as root
#   uml.sh put NAME FILE PATH    copies a file to it
#   uml.sh boot-id NAME          prints its boot id
#   uml.sh stop NAME             powers it off; its disk stays
#   uml.sh cut NAME              cuts it off, as a lost power supply does; its disk stays
#   uml.sh reboot NAME           stop and start: a kernel that starts itself again loses its network
#   uml.sh remove NAME           removes it with its network and its disk
#
# Each is a process of this machine, in a network namespace of its own, and reaches nobody from
# there. All of that is called convocate-testbed-NAME, and nothing else is ever touched. Needs root.
# To enter its network: ip netns exec convocate-testbed-NAME …
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
store=${TMPDIR:-/tmp}/convocate-testbed-uml
address=192.0.2.2
# How long a boot may take, in seconds, and an end.
boot_seconds=300
stop_seconds=60
# Enough for Docker and some sessions; it is taken as it is used.
memory=1536M

start() {
    if is_alive; then
        echo "uml.sh: $name is already up" >&2
        exit 1
    fi
    if [ ! -e "$home/base" ]; then
        base=$("$here/uml-image.sh")
        install -d -m 0700 "$home"
        cp "$base.key" "$home/key"
        echo "$base" >"$home/base"
    fi
    base=$(cat "$home/base")
    make_network
    power_on
    await_boot
}

# The kernel's process writes its number down itself. How it ended stands behind its last words.
power_on() {
    rm -f "$home/pid"
    {
        status=0
        # shellcheck disable=SC2016 # for the shell that becomes the kernel
        setsid sh -c 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"' "$home/pid" \
            ip netns exec "$name" env "LD_PRELOAD=$base.so" \
            linux.uml "umid=$name" "uml_dir=$home/" "mem=$memory" \
            "ubd0=$home/disk,$base" root=/dev/ubda rw eth0=tuntap,tap0 \
            con=null con0=null,fd:1 ssl=null \
            "systemd.hostname=$short" systemd.unified_cgroup_hierarchy=1 || status=$?
        echo "its kernel ended with $status"
    } </dev/null >"$home/log" 2>&1 &
    until [ -e "$home/pid" ]; do sleep 0.01; done
}

make_network() {
    ip netns add "$name" 2>/dev/null || return 0
    ip -n "$name" link set lo up
    ip -n "$name" tuntap add tap0 mode tap
    ip -n "$name" address add 192.0.2.1/24 dev tap0
    ip -n "$name" link set tap0 up
}

await_boot() {
    end=$(($(date +%s) + boot_seconds))
    while [ "$(date +%s)" -lt "$end" ] && is_alive; do
        # One connection for all commands: to begin one costs a second there.
        if connect -o ConnectTimeout=2 -o ControlMaster=yes -f -N >/dev/null 2>&1; then
            case $(connect systemctl is-system-running --wait 2>/dev/null) in
            running | degraded) return 0 ;;
            esac
        fi
        sleep 0.2
    done
    echo "uml.sh: $name has not booted; its last words:" >&2
    tail -n 20 "$home/log" >&2
    connect -o ConnectTimeout=2 systemctl list-jobs >&2 || true
    return 1
}

connect() {
    ip netns exec "$name" ssh -F /dev/null -S "$home/ssh" -i "$home/key" \
        -o BatchMode=yes -o IdentitiesOnly=yes -o StrictHostKeyChecking=accept-new \
        -o "UserKnownHostsFile=$home/known-hosts" -o LogLevel=ERROR "root@$address" "$@"
}

# The other end's shell takes one line apart; each argument is to arrive as it is.
run() {
    line=
    for argument; do
        line="$line '$(printf '%s' "$argument" | sed "s/'/'\\\\''/g")'"
    done
    connect "$line"
}

put() {
    mode=$(stat -c %a "$1")
    # shellcheck disable=SC2016 # for the shell over there
    run sh -c 'cat >"$1" && chmod "$2" "$1"' sh "$2" "$mode" <"$1"
}

# Whether the process that was started is still there. One that nobody has waited for yet is not.
is_alive() {
    [ -e "$home/pid" ] && grep -qs "umid=$name" "/proc/$(cat "$home/pid")/cmdline"
}

stop() {
    run systemctl poweroff >/dev/null 2>&1 || true
    end=$(($(date +%s) + stop_seconds))
    while is_alive; do
        if [ "$(date +%s)" -gt "$end" ]; then
            echo "uml.sh: $name does not end, and is cut off" >&2
            break
        fi
        sleep 0.1
    done
    cut
}

# The kernel has processes for its own programs and one that writes its disk. What remains of them
# holds the disk and the network: the last one has to be gone. Who else is in its network goes too.
cut() {
    while left=$(ip netns pids "$name" 2>/dev/null) && [ -n "$left" ]; do
        # shellcheck disable=SC2086 # one word each
        kill -KILL $left 2>/dev/null || true
        sleep 0.1
    done
    rm -f "$home/ssh" "$home/pid"
}

remove() {
    [ -d "$home" ] || return 0
    cut
    ip netns delete "$name" 2>/dev/null || true
    rm -rf "$home"
}

case ${2-} in
'' | *[!a-z0-9-]*)
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
verb=$1
short=$2
name=convocate-testbed-$short
home=$store/$name
shift 2
case $verb in
start | stop | cut | remove) "$verb" ;;
run | put) "$verb" "$@" ;;
boot-id) run cat /proc/sys/kernel/random/boot_id ;;
reboot)
    stop
    start
    ;;
*)
    echo "uml.sh: unknown: $verb" >&2
    exit 2
    ;;
esac
