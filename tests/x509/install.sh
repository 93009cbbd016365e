#!/bin/sh
# Puts the readers in place that tests/x509 shows our certificates to: tools of the system, and
# below target/ a Python environment with what PyPI has. Said and left out where it cannot be had;
# the tests then skip that reader by name. Done before, it takes no time.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source-path=SCRIPTDIR/../.. source=scripts/packages.sh
. scripts/packages.sh

venv=${CARGO_TARGET_DIR:-target}/x509-venv
# What is asked for, and what of it has been installed.
wanted='cryptography==48.0.0 pkilint==0.13.3'

main() {
    need openssl openssl || true
    need certtool gnutls-bin || true
    need python3 python3 || true
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$wanted" ]; then
        make_venv || echo 'the readers from PyPI are left out' >&2
    fi
}

make_venv() {
    rm -rf "$venv"
    if ! python3 -m venv "$venv" >/dev/null 2>&1; then
        install_package python3-venv || return 1
        python3 -m venv --clear "$venv" || return 1
    fi
    # shellcheck disable=SC2086 # each word is a package
    "$venv/bin/pip" install --quiet --only-binary :all: $wanted || return 1
    echo "$wanted" >"$venv/installed"
}

main "$@"
