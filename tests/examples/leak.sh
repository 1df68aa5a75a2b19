#!/bin/bash
# Tests examples/leak: leak.sh PROGRAM. The report names the two goroutines that are stuck, by the line that started them and
# by what they wait for; after the fix there is no report, also not at exit.
set -u
program=$(realpath -- "$1") || exit 2
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
    echo "leak.sh: FAILED: $*" >&2
    failures=$((failures + 1))
}

WEFT_LEAKS=1 timeout 60 "$program" >"$work/out" 2>"$work/err"
status=$?
[ "$status" -eq 0 ] || fail "status $status"
[ -s "$work/err" ] && fail 'something on standard error'

# The report is what stands between these lines.
sed -n '/^an answer came$/,/goroutines leaked$/p' "$work/out" | sed -n '2,/goroutines leaked$/p' | sed '$d' >"$work/report"
grep -q 'leak\.c:[1-9]' "$work/report" || fail 'the report does not name the line'
grep -q 'ask' "$work/report" || fail 'the report does not name the function'
grep -qi 'send' "$work/report" || fail 'the report does not say what they wait for'
grep -qw '2' "$work/report" || fail 'the report does not say how many'

{
    printf -- '--- with a leak\nan answer came\n'
    cat "$work/report"
    printf -- '2 goroutines leaked\n--- with the fix\nan answer came\n0 goroutines leaked\n'
} >"$work/expected"
cmp -s "$work/expected" "$work/out" || fail 'the output is not the two parts that it should be'

if [ "$failures" -ne 0 ]; then
    cat "$work/out" "$work/err" >&2
    exit 1
fi
echo 'leak.sh: the report and the silence are as they should be'
