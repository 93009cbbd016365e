#!/bin/sh
# Puts the peers in place that tests/peers talks to: packages of the system, and below target/ a
# Python environment with what PyPI has. Said and left out where it cannot be had; the tests then
# skip that peer by name.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source-path=SCRIPTDIR/../.. source=scripts/packages.sh
. scripts/packages.sh

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
    need_from_pypi "${CARGO_TARGET_DIR:-target}/peers-venv" asyncssh==2.24.1 paramiko==5.1.0 \
        ssh-python==1.2.0.post1 ssh2-python==1.2.0.post1 ssh-audit==3.9.0 ||
        echo 'the peers from PyPI are left out' >&2
}

main "$@"
