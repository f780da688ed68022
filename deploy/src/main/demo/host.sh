#!/bin/bash
# A "machine" of the demo, as PID 1 of namespaces of its own: its working folder, /tmp, /run, caches and shared memory are
# empty and in memory, and gone with it. What it shares with the other machine is the store (and what stands for the installed
# software: /usr, Lifeboat, the program). host.sh NAME COMMAND... runs COMMAND in /mnt/work.
set -euo pipefail

name=$1
shift
hostname "$name"
ip link set lo up

criu=$(readlink "$LIFEBOAT_DEMO_DIST/criu" || true)
# Opened before the mounts below hide them, wherever the checkout is.
exec 3<"$LIFEBOAT_DEMO_DIST" 4<"$LIFEBOAT_DEMO_PROGRAM" 5<"$LIFEBOAT_DEMO_STORE" 6<"$LIFEBOAT_DEMO_OUT" 7<"${criu:-/}"

for folder in /mnt /tmp /var/tmp /var/cache /run /dev/shm; do
  mount -t tmpfs -o mode=1777 "$name" "$folder"
done
mkdir /mnt/work
for bound in 3:/mnt/lifeboat 4:/mnt/program 5:/mnt/store 6:/mnt/out 7:"$criu"; do
  at=${bound#*:}
  if [ -n "$at" ] && [ ! -x "$at/bin" ]; then
    mkdir -p "$at"
    mount --no-canonicalize --bind "/proc/self/fd/${bound%%:*}" "$at"
  fi
done
exec 3<&- 4<&- 5<&- 6<&- 7<&-

cd /mnt/work
status=0
"$@" || status=$?
cp results.txt /mnt/out/
exit "$status"
