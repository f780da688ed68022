#!/bin/sh
# The task `sort`: GNU sort, which has read the lines of a file and waits for more.
#
#   sort.sh MIB READY FILE
#
# MIB is the most memory for the lines and sort's own records of them. More lines would come from a FIFO, whose writing end
# sort holds itself: so it waits for ever.
set -eu

mib=$1 ready=$2 file=$3 here=$(dirname "$2")
mkfifo "$here/more"
exec 3<>"$here/more"
(
  # sort tells nobody that it has read the file; what it has read is counted
  size=$(wc -c <"$file")
  while [ "$(sed -n 's/^rchar: //p' /proc/$$/io)" -lt "$size" ]; do sleep 0.1; done
  echo $$ >"$ready"
) 3>&- &
exec sort -S "${mib}M" -T "$here" "$file" - <"$here/more"
