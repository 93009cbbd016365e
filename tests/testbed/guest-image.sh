#!/bin/sh
# Makes the image that virtual machines of the tests boot, where it is missing, and prints its path:
# Debian 12 with a kernel for machines, cloud-init, and a boot loader that talks on the serial line.
# It stands for a distribution's cloud image, which cannot be had everywhere.
#
# Needs what base-image.sh needs, which it calls, loop devices, and 3 GB for a minute. The image,
# 300 MB, is kept below convocate-testbed-guest in the directory for temporary files. Two runs at
# once are safe.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
store=${TMPDIR:-/tmp}/convocate-testbed-guest
base=convocate-testbed/base:bookworm
# Where the one partition begins, in bytes.
offset=1048576

"$here/base-image.sh" >&2
for need in sfdisk:fdisk qemu-img:qemu-utils mkfs.ext4:e2fsprogs; do
    if ! command -v "${need%:*}" >/dev/null; then
        apt-get update -qq >&2
        apt-get install -y -qq --no-install-recommends "${need#*:}" >&2
    fi
done

install -d -m 0700 "$store"
exec 9>"$store/lock"
flock 9

hash=$({ cat "$0"; docker image inspect -f '{{.Id}}' "$base"; } | sha256sum | cut -c1-16)
image=$store/$hash.qcow2
echo "$image"
[ ! -e "$image" ] || exit 0

work=$(mktemp -d "$store/work-XXXXXX")
root=$work/root
loop=''
# What it says is only of use if it fails.
clean_up() {
    [ $? = 0 ] || tail -n 40 "$work/log" >&3
    umount -R "$root" 2>/dev/null || true
    [ -z "$loop" ] || losetup -d "$loop" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
mkdir "$root"
exec 3>&2 >"$work/log" 2>&1

truncate -s 2G "$work/disk"
echo "start=$((offset / 512)), type=83, bootable" | sfdisk -q "$work/disk"
loop=$(losetup --find --show --offset "$offset" "$work/disk")
mkfs.ext4 -q -L guest "$loop"
mount "$loop" "$root"

# A container that never runs is the way to an image's files.
container=$(docker create "$base")
docker export "$container" | tar -x -C "$root" --numeric-owner
docker rm "$container"
cp /etc/resolv.conf "$root/etc/resolv.conf"
# Slaves: what is unmounted below here stays mounted where it is from.
for tree in proc sys dev; do
    mount --rbind "/$tree" "$root/$tree"
    mount --make-rslave "$root/$tree"
done

echo 'LABEL=guest / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
# Nothing is started in here.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
chroot "$root" sh -euc '
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq -y --no-install-recommends install cloud-guest-utils cloud-init dbus \
        extlinux fdisk initramfs-tools iproute2 linux-image-cloud-amd64 netplan.io \
        openssh-server sudo syslinux-common systemd-sysv udev
    apt-get clean
    rm -rf /var/lib/apt/lists/*
    systemctl enable systemd-networkd
    systemctl mask systemd-networkd-wait-online.service'
rm "$root/usr/sbin/policy-rc.d" "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
# Keys of every kind, and a language, take an emulated processor half a minute.
printf '%s\n' 'datasource_list: [ NoCloud ]' 'ssh_genkeytypes: [ed25519]' 'locale: false' \
    >"$root/etc/cloud/cloud.cfg.d/90-testbed.cfg"

kernel=$(basename "$root"/boot/vmlinuz-*)
mkdir -p "$root/boot/extlinux"
printf '%s\n' 'serial 0 115200' 'default linux' 'prompt 0' 'timeout 1' 'label linux' \
    " kernel /boot/$kernel" \
    " append initrd=/boot/initrd.img-${kernel#vmlinuz-} root=LABEL=guest ro console=ttyS0" \
    >"$root/boot/extlinux/extlinux.conf"
chroot "$root" extlinux --install /boot/extlinux
dd if="$root/usr/lib/EXTLINUX/mbr.bin" of="$work/disk" bs=440 count=1 conv=notrunc

umount -R "$root"
losetup -d "$loop"
loop=''
qemu-img convert -O qcow2 -c "$work/disk" "$work/image"
mv "$work/image" "$image"
