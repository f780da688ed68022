#!/bin/bash
# samtools sorts reads through temporary files, and gcc compiles. Arguments: READS. Deterministic but for its temporary names.
set -eu
export LC_ALL=C
awk -v reads="${1:-200000}" 'BEGIN {
  OFS = "\t"; print "@HD", "VN:1.6"; print "@SQ", "SN:chr1", "LN:100000000"; x = 7
  for (i = 0; i < reads; i++) {
    x = (x * 69069 + 1) % 4294967296
    print "read" i, 0, "chr1", x % 99999000 + 1, 60, "50M", "*", 0, 0,
      "ACGTACGTACGTACGTACGTACGTACGTACGTACGTACGTACGTACGTAC", "IIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII"
  } }' >reads.sam
echo "step 1 $(md5sum <reads.sam)"
samtools sort -m 1M -l 9 --no-PG -T temporary -O sam -o sorted.sam reads.sam 2>/dev/null
echo "step 2 $(md5sum <sorted.sam)"
awk 'BEGIN { print "int f0(int x) { return x; }"
  for (i = 1; i < 1500; i++)
    printf "int f%d(int x) { int s = 0; for (int i = 0; i < x %% %d; i++) s += f%d(x ^ i) * %d; return s; }\n", i, i + 2, i - 1, i
  print "int main(void) { return f3(5) & 63; }" }' >program.c
gcc -O2 -o program program.c
code=0
./program || code=$?
echo "end 3 $code $(md5sum <program)"
