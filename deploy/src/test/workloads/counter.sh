#!/bin/bash
# The smallest task: counts, starting no process. Arguments: STEPS PAUSE EXIT_CODE. Pauses no more once
# there is a file `hurry`.
[ -p wait ] || mkfifo wait
exec 3<>./wait
step=0
while [ "$step" -lt "${1:-100}" ]; do
  step=$((step + 1))
  echo "step $step $((step * 7919 % 1009))"
  [ -e hurry ] || read -r -t "${2:-0.01}" -u 3
done
echo "end $step"
exit "${3:-0}"
