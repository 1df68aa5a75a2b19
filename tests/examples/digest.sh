#!/bin/bash
# Tests examples/digest: digest.sh PROGRAM. The judge is find and sha256sum on a tree that is made to be difficult.
# Every run has WEFT_LEAKS=1 and its standard error compared, so a goroutine that is left behind fails the test.
set -u
program=$(realpath -- "$1") || exit 2
export LC_ALL=C WEFT_LEAKS=1
work=$(mktemp -d) || exit 2
trap 'cd /; chmod -R u+rwx "$work" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2
mkdir out && chmod 755 . || exit 2
program_directory=$(mktemp -d) && chmod 755 "$program_directory" || exit 2
trap 'cd /; chmod -R u+rwx "$work" 2>/dev/null; rm -rf "$work" "$program_directory"' EXIT
cp -- "$program" "$program_directory/digest" || exit 2 # where a user without rights finds it too
program=$program_directory/digest
failures=0 checks=0
many=$((60 * ${WEFT_TEST_SCALE:-100} / 100)) # files in each of 60 directories
[ "$many" -ge 20 ] || many=20 # the output fills a pipe
[ "$many" -le 60 ] || many=60

fail() {
    echo "digest.sh: FAILED: $*" >&2
    failures=$((failures + 1))
}

# digest ARGS...: runs the program; leaves out/stdout, out/stderr and $status.
digest() {
    checks=$((checks + 1))
    timeout 120 "$program" "$@" >out/stdout 2>out/stderr
    status=$?
}

# expect STATUS STDERR WHAT: checks the last run; its standard output must be what out/expected holds.
expect() {
    [ "$status" -eq "$1" ] || fail "$3: status $status instead of $1"
    printf '%s' "$2" | cmp -s - out/stderr || { fail "$3: standard error:"; head -5 out/stderr >&2; }
    cmp -s out/expected out/stdout || { fail "$3: output differs"; diff out/expected out/stdout | head -5 >&2; }
}

# The right output for some roots.
reference() {
    find "$@" -type f -print0 2>/dev/null | sort -z | xargs -0r sha256sum -- >out/expected 2>/dev/null
}

# same ARGS...: no error is expected, and the output of find and sha256sum for the same roots.
same() {
    reference "$@"
    digest "$@"
    expect 0 '' "digest $*"
}

# ---- the tree ----
mkdir -p tree/many tree/odd tree/big tree/links tree/'empty dir' elsewhere void
for i in $(seq 60); do
    mkdir "tree/many/dir $i"
    for j in $(seq "$many"); do
        echo "$i $j" >"tree/many/dir $i/file.$j"
    done
done
i=0
for name in 'a space' $'new\nline' $'\nfirst' $'last\n' $'carriage\rreturn' 'back\slash' '\' '\n' $'all\\\n\r' $'tab\there' \
    $'\xc3\xa9t\xc3\xa9' $'\xff\xfe not utf-8' $'\x01\x1b[31m' '-dash' '--help' '*' '?' '$HOME' "a'quote" 'a"quote' \
    '.hidden' '...' ' ' 'dir.x' "$(printf 'x%.0s' $(seq 255))"; do
    i=$((i + 1))
    echo "odd $i" >"tree/odd/$name"
done
mkdir tree/odd/dir tree/odd/$'dir\nwith\\all\r' && echo x >tree/odd/dir/x && echo y >tree/odd/$'dir\nwith\\all\r'/y
mkdir tree/odd/dir-x && echo z >tree/odd/dir-x/z # "dir-x/z" sorts before "dir.x", that before "dir/x"
for size in 0 1 55 56 63 64 65 4095 4096 65535 65536 65537 131072 524288 5000000 9437185; do
    head -c "$size" /dev/urandom >"tree/big/$size"
done
ln -s ../big/64 tree/links/to-file
ln -s ../big tree/links/to-dir
ln -s nowhere tree/links/dangling
ln -s . tree/links/loop
ln tree/big/65 tree/links/hard
mkfifo tree/links/fifo
(cd tree && for i in $(seq 400); do mkdir "d$i" && cd "d$i" || exit 1; done && echo deep >bottom) || fail 'no deep tree'
echo plain >elsewhere/file

# ---- equal to find | sort | sha256sum ----
same tree
[ "$(wc -l <out/expected)" -gt $((60 * many)) ] || fail 'the tree is too small'
reference tree
for jobs in 1 3 64 1024; do
    digest -j "$jobs" tree
    expect 0 '' "-j $jobs"
done
digest --fail-fast --jobs=2 --no-progress tree
expect 0 '' '--fail-fast without an error'
same tree/ tree/odd// ./elsewhere
same elsewhere tree tree/odd elsewhere
same elsewhere/file
same tree/links/to-file tree/links/to-dir tree/links/fifo
same tree/links/to-dir/
same .//tree/../elsewhere
same /proc/version # says that it is empty, and is not
same void
[ -s out/stdout ] && fail 'an empty tree printed something'
(cd tree/odd && timeout 60 "$program" -- -dash --help .hidden) >out/stdout 2>out/stderr
status=$?
(cd tree/odd && sha256sum -- --help -dash .hidden) >out/expected
expect 0 '' 'names that start with dashes'
(cd tree/odd && find . -type f -print0 | sort -z | xargs -0 sha256sum) >out/expected
(cd tree/odd && timeout 60 "$program" .) >out/stdout 2>out/stderr
status=$?
expect 0 '' 'digest .'

# A path longer than PATH_MAX, which sha256sum cannot open.
long=$(printf 'n%.0s' $(seq 200))
(mkdir long && cd long && for i in $(seq 25); do mkdir "$long" && cd "$long" || exit 1; done && echo far >away)
printf '%s  %s\n' "$(echo far | sha256sum | cut -d' ' -f1)" "$(find long -type f)" >out/expected
[ "$(wc -c <out/expected)" -gt 5000 ] || fail 'no long path'
digest long
expect 0 '' 'a path longer than PATH_MAX'

# ---- errors ----
reference elsewhere
digest missing elsewhere '' elsewhere/file/
expect 1 $'digest: : No such file or directory\ndigest: elsewhere/file/: Not a directory
digest: missing: No such file or directory\n' 'roots that are missing'
digest $'no\nsuch\\name\r'
: >out/expected
expect 1 $'digest: no\\nsuch\\\\name\\r: No such file or directory\n' 'a missing root with an odd name'

for roots in 'missing tree' 'tree missing' 'tree missing tree tree tree tree tree tree tree tree'; do
    for jobs in 1 2 64; do
        # shellcheck disable=SC2086
        digest --fail-fast -j "$jobs" $roots
        expect 1 $'digest: missing: No such file or directory\n' "--fail-fast -j $jobs $roots"
    done
done

# Files and directories that may not be read: as another user when this is root, whom nothing stops.
as_user=()
[ "$(id -u)" -ne 0 ] || as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
mkdir -p locked/closed locked/names-only locked/open
echo 1 >locked/secret && echo 2 >locked/closed/file && echo 3 >locked/names-only/file && echo 4 >locked/open/file
chmod 000 locked/secret locked/closed && chmod 444 locked/names-only
if "${as_user[@]}" "$program" --version >/dev/null 2>&1; then
    checks=$((checks + 1))
    "${as_user[@]}" timeout 60 "$program" locked >out/stdout 2>out/stderr
    status=$?
    printf '%s  %s\n' "$(echo 4 | sha256sum | cut -d' ' -f1)" locked/open/file >out/expected
    expect 1 $'digest: locked/closed: Permission denied\ndigest: locked/names-only/file: Permission denied
digest: locked/secret: Permission denied\n' 'what may not be read'
    "${as_user[@]}" timeout 60 "$program" --fail-fast locked tree >out/stdout 2>out/stderr
    status=$?
    : >out/expected
    [ "$(wc -l <out/stderr)" -eq 1 ] && grep -q '^digest: locked/.*: Permission denied$' out/stderr ||
        fail '--fail-fast reported something else than one error'
    expect 1 "$(cat out/stderr)"$'\n' '--fail-fast where something may not be read'
else
    echo 'digest.sh: skipped: unreadable files (the program cannot be run as another user here)'
fi

# ---- where the output goes ----
: >out/expected
: >out/stdout
checks=$((checks + 3))
timeout 60 "$program" tree >/dev/full 2>out/stderr
status=$?
expect 1 $'digest: write error: No space left on device\n' '/dev/full'
timeout 60 "$program" tree >&- 2>out/stderr
status=$?
expect 1 $'digest: write error: Bad file descriptor\n' 'closed standard output'
(trap '' PIPE; timeout 60 "$program" tree 2>out/stderr; echo $? >out/status) | true
status=$(cat out/status)
expect 1 $'digest: write error: Broken pipe\n' 'a reader that leaves'

if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then
    checks=$((checks + 2))
    script -qec "'$program' tree >/dev/null" /dev/null >out/stdout 2>&1 </dev/null
    grep -q '[0-9] files, [0-9.]* MB, [0-9]* MB/s' out/stdout || fail 'no progress on a terminal'
    script -qec "'$program' --no-progress tree >/dev/null" /dev/null >out/stdout 2>&1 </dev/null
    [ -s out/stdout ] && fail '--no-progress: something on the terminal'
else
    echo 'digest.sh: skipped: progress on a terminal (no script program)'
fi

# ---- signals ----
# interrupt SIGNAL STATUS UNTIL OUTPUT ARGS...: runs the program with its output going to OUTPUT, sends it the signal as soon
# as the command UNTIL says so, and expects that it ends with STATUS. The signals are as where one types: what a script starts in
# the background ignores SIGINT otherwise.
interrupt() {
    local signal=$1 expected=$2 until=$3 output=$4 pid
    checks=$((checks + 1))
    (ulimit -t 200 && exec env --default-signal=INT,TERM "$program" "${@:5}") >"$output" 2>out/stderr &
    pid=$!
    for _ in $(seq 6000); do
        "$until" "$pid" && break
        sleep 0.01
    done
    kill -s "$signal" "$pid" || fail "SIG$signal: there was no program any more"
    wait "$pid"
    status=$?
    [ "$status" -eq "$expected" ] || fail "SIG$signal: status $status instead of $expected"
}

# have_read PID BYTES
have_read() {
    local bytes
    bytes=$(sed -n 's/^rchar: //p' "/proc/$1/io" 2>/dev/null)
    [ "${bytes:-0}" -gt "$2" ]
}
has_begun() { have_read "$1" 5000000; }
has_read() { have_read "$1" 400000000; } # of the file that takes for ever
has_printed() { read -r -N 1 -t 100 -u 9; } # a byte of it

if env --default-signal=INT true 2>/dev/null && [ -r /proc/self/io ]; then
    mkdir slow
    for i in $(seq 50); do echo "$i" >"slow/$i"; done
    truncate -s 2T slow/endless 2>/dev/null || truncate -s 200G slow/endless
    for signal_status in INT:130 TERM:143; do
        for jobs in 1 2 8; do
            interrupt "${signal_status%:*}" "${signal_status#*:}" has_read out/stdout -j "$jobs" slow
            done_files=$(wc -l <out/stdout)
            [ "$(cat out/stderr)" = "digest: interrupted, files done: $done_files" ] ||
                { fail "SIG${signal_status%:*} -j $jobs: standard error:"; head -5 out/stderr >&2; }
            find slow -type f ! -name endless -print0 | sort -z | xargs -0 sha256sum >out/expected
            [ -z "$(comm -13 <(sort out/expected) <(sort out/stdout))" ] || fail 'an interrupted run printed no digests'
            sort -k 2 -c out/stdout || fail 'an interrupted run did not sort'
        done
        [ "$done_files" -gt 0 ] || fail 'with 8 digesters no file was done'
    done
    interrupt INT 130 has_read out/stdout --fail-fast slow

    # While it prints, it ends at once: nobody reads the pipe.
    mkfifo out/pipe
    exec 9<>out/pipe
    interrupt INT 130 has_printed out/pipe tree
    exec 9>&-
    [ -s out/stderr ] && fail 'standard error of an output that was interrupted'

    # An ignored signal stays ignored.
    reference tree
    checks=$((checks + 1))
    (trap '' INT && exec "$program" tree >out/stdout 2>out/stderr) &
    pid=$!
    until has_begun "$pid" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.01; done
    kill -s INT "$pid" 2>/dev/null
    wait "$pid"
    status=$?
    expect 0 '' 'SIGINT where it is ignored'
else
    echo 'digest.sh: skipped: signals (env --default-signal or /proc/PID/io is missing)'
fi

# ---- usage ----
digest --help
[ "$status" -eq 0 ] && grep -q '^usage: digest' out/stdout || fail '--help'
digest --version
[ "$status" -eq 0 ] && grep -q '^digest [0-9]' out/stdout || fail '--version'
: >out/expected
for wrong in '' '-j 0 tree' '-j x tree' '-j 1x tree' '-j 1025 tree' '-j -1 tree' '-j 99999999999999999999 tree' \
    '--nonsense tree'; do
    # shellcheck disable=SC2086
    digest $wrong
    [ "$status" -eq 2 ] && [ -s out/stderr ] && [ ! -s out/stdout ] || fail "wrong usage '$wrong': status $status"
done

echo "digest.sh: $checks runs, $failures failures"
[ "$failures" -eq 0 ]
