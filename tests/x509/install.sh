#!/bin/sh
# Puts the readers in place that tests/x509 shows our certificates to: tools of the system, and
# below target/ a Python environment with what PyPI has. Said and left out where it cannot be had;
# the tests then skip that reader by name.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source-path=SCRIPTDIR/../.. source=scripts/packages.sh
. scripts/packages.sh

main() {
    need openssl openssl || true
    need certtool gnutls-bin || true
    need python3 python3 || true
    need_from_pypi "${CARGO_TARGET_DIR:-target}/x509-venv" cryptography==48.0.0 pkilint==0.13.3 ||
        echo 'the readers from PyPI are left out' >&2
}

main "$@"
