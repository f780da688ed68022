#!/bin/bash
# The demo: a computation under `lifeboat run` loses its machine without any notice and goes on on another one. The machines are
# host.sh's, sets of namespaces on this one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dist=$(realpath -m "${LIFEBOAT_HOME:-$here/../../../target/lifeboat}")
steps=40 mib=256 every=5s

die() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || die 'CRIU dumps and restores processes only for root: try: sudo deploy/demo'
[ -x "$dist/bin/lifeboat" ] || die "there is no Lifeboat in $dist: deploy/demo builds it first"
for tool in /usr/bin/python3 unshare ip; do
  command -v "$tool" >/dev/null || die "$tool is missing: run deploy/setup"
done
{ [ -x "$dist/criu/bin/criu" ] || [ -n "${LIFEBOAT_CRIU:-}" ] || command -v criu >/dev/null; } || die 'CRIU is missing: run deploy/setup'

bold='' dim='' red='' green='' blue='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' green=$'\e[32m' blue=$'\e[34m' plain=$'\e[0m'
fi

scratch=$(mktemp -d "${TMPDIR:-/tmp}/lifeboat-demo-XXXXXX")
mkdir "$scratch/store" "$scratch/out" "$scratch/alone"
export LIFEBOAT_DEMO_DIST=$dist LIFEBOAT_DEMO_PROGRAM=$here LIFEBOAT_DEMO_STORE=$scratch/store LIFEBOAT_DEMO_OUT=$scratch/out

machine='' alone='' # process ids
end() {
  local status=$?
  trap - EXIT
  for process in $machine $alone; do
    kill -KILL "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  if [ "$status" != 0 ] && [ -n "${LIFEBOAT_DEMO_KEEP:-}" ]; then
    echo "kept: $scratch" >&2
  else
    rm -rf "$scratch"
  fi
  exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

head_line() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

now() { date +%s.%N; }

since() { awk -v from="$1" -v to="${2:-$(now)}" 'BEGIN { printf "%.1f", to - from }'; }

# show HOST COLOUR: copies lines to the terminal, with the host's name and colour before each
show() { sed -u "s/^/$2host $1$plain  /"; }

run=(/mnt/lifeboat/bin/lifeboat run --store file:///mnt/store --every "$every" --
  /usr/bin/python3 /mnt/program/evolve.py "$steps" "$mib" results.txt)

# start HOST COLOUR: starts the machine, and on it the command
start() {
  printf '%shost %s%s  $ %s\n' "$2" "$1" "$plain" "${run[*]}"
  unshare --mount --propagation private --pid --fork --kill-child --mount-proc --ipc --net --uts \
    bash "$here/host.sh" "host-${1,,}" "${run[@]}" </dev/null \
    > >(tee "$scratch/$1.out" | show "$1" "$2") \
    2> >(tee "$scratch/$1.log" | show "$1" "$2$dim" >&2) &
  machine=$!
}

listing() { "$dist/bin/lifeboat" list --store "file://$scratch/store" --json; }

committed() {
  listing | python3 -c '
import json, sys
print(sum(d["manifestSha256"] is not None for d in json.load(sys.stdin)["dumps"]))'
}

lines() { cat "$1" 2>/dev/null | grep -c '^step' || true; }

last_step() { sed -n 's/^step *\([0-9]*\) .*/\1/p' "$1" | tail -n 1; }

# until_true WHAT COMMAND...: polls as long as the machine lives
until_true() {
  local what=$1
  shift
  until "$@"; do
    kill -0 "$machine" 2>/dev/null || die "the run on the host ended before $what; its log was above"
    sleep 0.2
  done
}

begun() { [ "$(lines "$scratch/$1.out")" -ge "$2" ]; }

two_snapshots() { begun A 8 && sleep 0.8 && [ "$(committed)" -ge 2 ]; }

head_line "A computation of $((mib + mib / 8)) MiB in two processes, $steps steps; a snapshot every $every"
echo 'Uninterrupted, without Lifeboat, it runs in the background at the same time: the results must be the same.'
(
  cd "$scratch/alone"
  exec /usr/bin/python3 "$here/evolve.py" "$steps" "$mib" results.txt >out
) &
alone=$!
start A "$blue"
until_true 'two snapshots were committed' two_snapshots
had=$(lines "$scratch/A.out")
until_true 'two more steps' begun A "$((had + 2))"

head_line 'Host A is taken away: SIGKILL, no notice; its memory, files and mounts are gone'
space=$(readlink "/proc/$machine/ns/pid_for_children")
kill -KILL "$machine"
wait "$machine" 2>/dev/null || true
machine=''
left() { find /proc/[0-9]*/ns/pid -lname "$space" 2>/dev/null | wc -l; }
for ((i = 0; i < 50 && $(left) > 0; i++)); do sleep 0.1; done
[ "$(left)" = 0 ] || die "$(left) processes of host A live on"
sleep 0.3 # for its last lines to be shown
echo "0 processes of it are left; the store has $(du -sh "$scratch/store" | cut -f1)"
listing >"$scratch/listing.json"

head_line 'Host B: another empty machine, the same command'
begin=$(now)
start B "$green"
until_true 'its first step' begun B 1
resumed=$(since "$begin")
status=0
wait "$machine" || status=$?
machine=''
sleep 0.3
[ "$status" = 0 ] || die "lifeboat run on host B ended with $status"
wait "$alone" || die 'the uninterrupted run failed'
alone=''

head_line 'What was saved'
python3 - "$scratch/listing.json" <<'EOP'
import json, sys
def size(n): return "%.0f MiB" % (n / 2**20)
print("%10s  %-9s  %10s  %10s  %8s" % ("snapshot", "state", "memory", "stored", "frozen"))
for d in json.load(open(sys.argv[1]))["dumps"]:
    done = d["manifestSha256"] is not None
    print("%10d  %-9s  %10s  %10s  %8s" % (d["id"], d["state"].lower(), size(d["rawBytes"]) if done else "-",
        size(d["storedBytes"]) if done else "-", "%.2f s" % (d["frozenMicros"] / 1e6) if done else "-"))
EOP

head_line 'What came back'
lost=$(last_step "$scratch/A.out") first=$(sed -n 's/^step *\([0-9]*\) .*/\1/p;' "$scratch/B.out" | head -n 1)
echo "host A was lost after step $lost; host B went on with step $first, $resumed s after the command was given"
sed -n 's/.*lifeboat INFO *\(restored snapshot .*\)/lifeboat: \1/p' "$scratch/B.log" | head -n 1

head_line 'Proof'
ok=yes
# check TEXT COMMAND...
check() {
  local text=$1
  shift
  if "$@" >/dev/null 2>&1; then
    printf '%syes%s  %s\n' "$green" "$plain" "$text"
  else
    printf '%sNO%s   %s\n' "$red" "$plain" "$text"
    ok=''
  fi
}
no_gap() { [ "$first" -gt 1 ] && [ "$first" -le $((lost + 1)) ]; }
same_lines() { sort -u "$scratch/A.out" "$scratch/B.out" | cmp - <(sort "$scratch/alone/out"); }
check "it went on in the middle: no step is missing between the hosts" no_gap
check "every line that the hosts printed is one of the uninterrupted run, and all $steps are there" same_lines
check "results.txt, which went along with the memory, is the same: each step once" cmp "$scratch/out/results.txt" "$scratch/alone/results.txt"
check "$(tail -n 1 "$scratch/B.out" | cut -c 1-39)... over all memory is the same" \
  cmp <(tail -n 1 "$scratch/B.out") <(tail -n 1 "$scratch/alone/out")
[ "$ok" ] || die 'the result differs from that of the uninterrupted run'
