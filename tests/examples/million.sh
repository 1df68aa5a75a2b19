#!/bin/bash
# Tests examples/million: million.sh PROGRAM. With 5,000 goroutines, which every sanitizer can do; the numbers must be there.
set -u
program=$(realpath -- "$1") || exit 2
failures=0

fail() {
    echo "million.sh: FAILED: $*" >&2
    failures=$((failures + 1))
}

output=$(WEFT_LEAKS=1 timeout 120 "$program" 5000 2>&1)
status=$?
[ "$status" -eq 0 ] || fail "status $status"
number='[0-9]+(\.[0-9]+)?'
pattern="^goroutines: +5000
create and park: +$number s, $number ns each
memory: +$number KiB each \(resident, with page tables\)
wake and finish: +$number s, $number ns each\$"
[[ $output =~ $pattern ]] || fail "unexpected output: $output"

for wrong in 0 -1 x 10x '' '1 2'; do
    # shellcheck disable=SC2086
    if [ -z "$wrong" ]; then timeout 60 "$program" '' 2>/dev/null; else timeout 60 "$program" $wrong 2>/dev/null; fi
    [ $? -eq 2 ] || fail "wrong usage '$wrong' is not refused"
done

[ "$failures" -eq 0 ] || exit 1
echo 'million.sh: 5,000 goroutines started, parked and ended'
