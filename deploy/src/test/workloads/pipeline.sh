#!/bin/bash
# A shell loop that starts a process a step, piped into awk and, through another process, into sort. Arguments: STEPS PAUSE.
# Exit code 3. Deterministic; pauses no more once there is a file `hurry`.
set -u
export LC_ALL=C

line_by_line=()
if awk -W version 2>&1 </dev/null | grep -q mawk; then
  line_by_line=(-W interactive)
fi

numbers() {
  local step state=12345
  for ((step = 1; step <= $1; step++)); do
    ((state = (state * 1103515245 + 12345) % 2147483648))
    echo "$step $state"
    [ -e hurry ] || sleep "$2"
  done
}

numbers "${1:-100}" "${2:-0.01}" |
  awk "${line_by_line[@]}" '{ sum = (sum * 31 + $2) % 1000003; kept[NR % 1000] = sum; print "step", $1, sum; fflush()
         print $2, $1 | "sort -n > sorted.txt" }
       END { close("sort -n > sorted.txt"); print "end", NR, sum }'
md5sum sorted.txt
(exit 3)
