#!/bin/bash
# PID 1 of a host of the end-to-end tests, in namespaces of its own. Arguments: NAME, the folder `deploy`, a folder that the
# host shares with others or -, and a folder on the disk with `cache` and `work` in it or -. Everything else that can be written
# is an empty tmpfs of its own; the rest is read-only:
#   /srv       the folder `deploy`: the distribution and the workloads, read-only
#   /media     the shared folder
#   /mnt/work  the working directory
# Ends, and with it every process of the host, at the end of its standard input.
set -eu
name=$1 deploy=$2 shared=$3 disk=$4

mount --bind "$deploy" /srv
mount -o remount,bind,ro /srv
if [ "$shared" != - ]; then
  mount --bind "$shared" /media
fi
for place in /tmp /var/tmp /var/cache /run /dev/shm /mnt; do
  mount -t tmpfs -o mode=1777,nosuid,nodev lifeboat-test "$place"
done
mkdir -m 755 /mnt/work /mnt/home
if [ "$disk" != - ]; then
  mount --bind "$disk/cache" /var/cache
  mount --bind "$disk/work" /mnt/work
fi
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -o remount,bind,ro /
hostname "$name"
ip link set lo up
cd /mnt/work
echo booted

while read -r _; do :; done
