#!/bin/sh
# Makes the disk that uml.sh boots, where it is missing, and prints its path: the same Debian 12 as
# host-image.sh's `docker`, with the modules of a user-mode Linux, and with the session image in its
# engine's store. Loading that image there would take minutes; so it is loaded into the engine of
# a host in a container, whose store goes on the disk.
#
# Needs what base-image.sh needs, which it calls, a C compiler, and 2 GB. The disk is kept, with the
# key for root's ssh and the library that linux.uml is preloaded with beside it, below
# convocate-testbed-uml in the directory for temporary files. Two runs at once are safe.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
store=${TMPDIR:-/tmp}/convocate-testbed-uml
session=$("$here/session-image.sh")
# Room for what tests write; the file is sparse.
disk_size=3G

"$here/base-image.sh" >&2
"$here/host-image.sh" >&2
if ! command -v linux.uml >/dev/null; then
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends user-mode-linux >/dev/null
fi

install -d -m 0700 "$store"
exec 9>"$store/lock"
flock 9

# A disk is as old as what it was made from.
hash=$({
    cat "$0" "$here"/uml/* "$(command -v linux.uml)"
    docker image inspect -f '{{.Id}}' convocate-testbed/docker:bookworm "$session"
} | sha256sum | cut -c1-16)
disk=$store/$hash.ext4
echo "$disk"
[ ! -e "$disk" ] || exit 0

work=$(mktemp -d "$store/work-XXXXXX")
seed=uml-seed-$$
trap 'rm -rf "$work"; "$here/host.sh" remove "$seed"' EXIT
root=$work/root
mkdir "$root"

# A container that never runs is the way to an image's files.
docker create --name "convocate-testbed-$seed" convocate-testbed/docker:bookworm >/dev/null
docker export "convocate-testbed-$seed" | tar -x -C "$root" --exclude=.dockerenv \
    --exclude='usr/share/doc/*' --exclude='usr/share/locale/*' --exclude='usr/share/man/*'
docker rm "convocate-testbed-$seed" >/dev/null

"$here/host.sh" start "$seed" docker
docker save "$session" | "$here/host.sh" run "$seed" docker load -q >/dev/null
"$here/host.sh" run "$seed" systemctl stop docker.socket docker containerd
cp -a "$(docker volume inspect -f '{{.Mountpoint}}' "convocate-testbed-$seed")/." \
    "$root/var/lib/docker"

units=$root/etc/systemd/system
cp -a /usr/lib/uml/modules "$root/usr/lib/"
cp "$here/uml/testbed-network.service" "$units/"
ln -s ../testbed-network.service "$units/multi-user.target.wants/"
# What would only cost time at every start.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer modprobe@.service systemd-tmpfiles-clean.timer; do
    ln -sf /dev/null "$units/$unit"
done
mkdir -p "$root/etc/containerd"
echo 'disabled_plugins = ["cri"]' >"$root/etc/containerd/config.toml"
# This kernel has no nftables.
chroot "$root" update-alternatives --quiet --set iptables /usr/sbin/iptables-legacy
chroot "$root" update-alternatives --quiet --set ip6tables /usr/sbin/ip6tables-legacy

echo '/dev/ubda / ext4 rw,noatime 0 1' >"$root/etc/fstab"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
: >"$root/etc/resolv.conf"
ssh-keygen -q -t ed25519 -N '' -f "$root/etc/ssh/ssh_host_ed25519_key"
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
install -d -m 0700 "$root/root/.ssh"
install -m 0600 "$work/key.pub" "$root/root/.ssh/authorized_keys"

truncate -s "$disk_size" "$work/disk"
mke2fs -q -t ext4 -d "$root" "$work/disk" >&2
cc -O2 -Wall -Wextra -Werror -shared -fPIC -o "$work/wide" "$here/uml/wide-registers.c" >&2
mv "$work/wide" "$disk.so"
mv "$work/key" "$disk.key"
mv "$work/disk" "$disk"
