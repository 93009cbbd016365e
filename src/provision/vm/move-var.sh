# Called with the disk's device and the UUID that its file system is to have.
set -eu
disk=$1 id=$2
if mountpoint -q /var; then exit 0; fi
udevadm settle --timeout=60 --exit-if-exists="$disk"
# A disk that has something on it is not ours to format: not even if it was, and was not mounted.
if [ -n "$(blkid -p -o value -s TYPE "$disk")" ]; then
    echo "move-var: $disk has a file system already, and /var is not on it" >&2
    exit 1
fi
mkfs.ext4 -q -U "$id" -L var "$disk"
new=/run/convocate-var
mkdir -p "$new"
mount "$disk" "$new"
cp -ax /var/. "$new"
umount "$new"
rmdir "$new"
echo "UUID=$id /var ext4 defaults 0 2" >>/etc/fstab
systemctl daemon-reload
mount "UUID=$id" /var
# The journal goes on where it is from now on.
systemctl try-restart systemd-journald.service
