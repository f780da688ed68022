#!/bin/bash
# Sorts a file through many temporary files that come and go. Arguments: LINES. Prints a checksum of the result; exit code 0.
set -eu
export LC_ALL=C
awk -v lines="${1:-400000}" 'BEGIN { x = 42; for (i = 0; i < lines; i++) {
  x = (x * 69069 + 1) % 4294967296; printf "%010d %d\n", x, i } }' >unsorted.txt
echo "step 1 $(md5sum <unsorted.txt)"
mkdir -p temporary
sort -S 256K --batch-size=3 --parallel=1 -T temporary --compress-program=gzip unsorted.txt >sorted.txt
sort -c sorted.txt
echo "end 2 $(md5sum <sorted.txt)"
