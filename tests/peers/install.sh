#!/bin/sh
# Puts the peers in place that tests/peers talks to: packages of the system, and below target/ a
# Python environment with what PyPI has. Said and left out where it cannot be had; the tests then
# skip that peer by name. Done before, it takes no time.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source-path=SCRIPTDIR/../.. source=scripts/packages.sh
. scripts/packages.sh

venv=${CARGO_TARGET_DIR:-target}/peers-venv
# What is asked for, and what of it has been installed.
wanted='asyncssh==2.24.1 paramiko==5.1.0 ssh-python==1.2.0.post1 ssh2-python==1.2.0.post1
ssh-audit==3.9.0'

main() {
    need ssh openssh-client || true
    need ssh-keygen openssh-client || true
    need dbclient dropbear-bin || true
    need dropbear dropbear-bin || true
    need plink putty-tools || true
    need puttygen putty-tools || true
    need python3 python3 || true
    # Installing these starts servers: on CI's machine, and not on a person's own.
    if [ -n "${CI-}" ]; then
        need sshd openssh-server || true
        need tinysshd tinysshd || true
    fi
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
        make_venv || echo 'the peers from PyPI are left out' >&2
    fi
}

make_venv() {
    rm -rf "$venv"
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        install_package python3-venv || return 1
        python3 -m venv --clear "$venv" || return 1
    fi
    # One package that has no wheel for this machine takes none of the others with it.
    missing=''
    for package in $wanted; do
        "$venv/bin/pip" install --quiet --only-binary :all: "$package" ||
            missing="$missing $package"
    done
    [ -z "$missing" ] || { echo "not to be had:$missing" >&2; return 1; }
    echo "$wanted" >"$venv/installed"
}

main "$@"
