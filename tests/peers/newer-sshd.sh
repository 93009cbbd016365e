#!/bin/sh
# Unpacks the OpenSSH server of Debian's backports into a directory, and installs nothing:
#
#     newer-sshd.sh DIRECTORY
set -eu

mkdir -p "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. /etc/os-release
keys=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keys] http://deb.debian.org/debian $VERSION_CODENAME-backports main" \
    >"$work/list"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
# Lists and packages of its own: the machine's stay as they are.
apt() {
    command="$1"
    shift
    "$command" -qq -o "Dir::Etc::sourcelist=$work/list" -o Dir::Etc::sourceparts=- \
        -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" \
        -o APT::Sandbox::User=root "$@"
}
apt apt-get update
(cd "$work" && apt apt-get download "openssh-server/$VERSION_CODENAME-backports")
dpkg -x "$work"/openssh-server_*.deb "$1"
