#!/bin/bash
# Tests examples/httpd: httpd.sh PROGRAM [CLIENT], the compiled tests/http/client.c. curl and wrk judge too, where they are there.
# Every server runs with WEFT_LEAKS=1, must end with status 0 by SIGTERM, and must have said nothing on its standard error.
set -u
program=$(realpath -- "$1") || exit 2
client=$(realpath -- "${2-$(dirname -- "$program")/../tests/http/http_client}") || exit 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
corpus=("$here"/../http/corpus/*.txt)
export LC_ALL=C WEFT_LEAKS=1
work=$(mktemp -d) || exit 2
server=
trap '[ -n "$server" ] && kill -9 "$server" 2>/dev/null; cd /; chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 2
failures=0 checks=0

fail() {
    echo "httpd.sh: FAILED: $*" >&2
    failures=$((failures + 1))
}

# same EXPECTED ACTUAL WHAT
same() {
    checks=$((checks + 1))
    [ "$1" = "$2" ] || fail "$3: '$2' instead of '$1'"
}

# start OPTION...: a server on a free port; sets $server and $address.
start() {
    : >log
    "$program" --listen=127.0.0.1:0 "$@" >log 2>errors &
    server=$!
    for _ in $(seq 600); do
        address=$(sed -n 's/^listening on //p' log)
        [ -n "$address" ] && return
        sleep 0.05
    done
    fail "httpd $*: does not listen"
    cat errors
    exit 1
}

# ended [STDERR]: the server ends, all in order.
ended() {
    wait "$server"
    same 0 $? 'exit status'
    server=
    same "${1-}" "$(cat errors)" 'standard error'
}

stop() {
    kill -TERM "$server"
    ended
}

# talk WHAT STEP...: see tests/http/client.c.
talk() {
    checks=$((checks + 1))
    "$client" "$address" "${@:2}" || fail "$1"
}

get() { # PATH [FIELD...]: a whole request, as the text that client takes
    local field text="GET $1 HTTP/1.1\\r\\nHost: test\\r\\n"
    for field in "${@:2}"; do
        text+="$field\\r\\n"
    done
    printf '%s' "$text\\r\\n"
}

# answers WHAT REQUEST TEXT...: sends a request and expects each text; then the connection must still be good for another.
answers() {
    local text steps=()
    for text in "${@:3}"; do
        steps+=("expect=$text")
    done
    talk "$1" "send=$2" "${steps[@]}" "send=$(get /api/hello 'Connection: close')" 'expect=Hello from' eof
}

# ---- the tree ----
mkdir -p root/sub root/deep/er root/.git root/.well-known 'root/with space' root/closed
echo '<title>index</title>' >root/index.html
echo 'secret' >secret.txt
echo 'in sub' >root/sub/index.html
echo 'deep' >root/deep/er/file.txt
printf '0123456789' >root/ten.txt
: >root/empty.txt
echo hidden | tee root/.hidden root/.git/config >/dev/null
echo known >root/.well-known/file
echo spaced >'root/with space/a b.txt'
echo 'body {}' >root/style.css
echo 'void 0' >root/code.js
head -c 5000000 /dev/urandom >root/big.bin
ln -s ../secret.txt root/out.txt
ln -s /etc/passwd root/absolute.txt
ln -s .. root/up
ln -s /proc/self root/proc-link
ln -s ten.txt root/in.txt
ln -s deep/er root/in-directory
ln -s nowhere root/dangling
mkfifo root/fifo

# ---- options ----
usage() { # STATUS ARGUMENT...
    checks=$((checks + 1))
    timeout 60 "$program" "${@:2}" >out 2>errors
    same "$1" $? "httpd ${*:2}"
    [ -s errors ] || [ "$1" -eq 0 ] || fail "httpd ${*:2}: says nothing"
}
usage 0 --help
grep -q -- --max-connections out || fail 'no help'
usage 2 --unknown
usage 2 argument
usage 2 --header-timeout=0
usage 2 --header-timeout=x
usage 2 --max-body=-1
usage 2 --max-body=1x
usage 2 --max-header=100000
usage 2 --max-connections=0
usage 1 --root=missing
usage 1 --root=root/ten.txt
usage 1 --listen=nonsense
usage 1 --listen=127.0.0.1:99999

# ---- files ----
start --root=root --log
answers index "$(get /)" 'HTTP/1.1 200 OK\r\n' 'Content-Type: text/html; charset=utf-8\r\n' 'Content-Length: 21\r\n' '<title>index</title>'
answers 'index of a directory' "$(get /sub/)" 'in sub\n'
answers 'redirect' "$(get '/sub?x=1&y')" '301 Moved Permanently' 'Location: /sub/?x=1&y\r\n' 'Content-Length: 0\r\n'
answers 'no index' "$(get /deep/)" '404 Not Found'
answers 'deep' "$(get /deep/er/file.txt)" 'deep\n'
answers 'empty file' "$(get /empty.txt)" '200 OK' 'Content-Length: 0\r\n'
answers 'types' "$(get /style.css)$(get /code.js)$(get /big.bin 'Range: bytes=0-0')" 'Content-Type: text/css' \
    'Content-Type: text/javascript' 'Content-Type: application/octet-stream'
answers 'escapes' "$(get '/with%20space/%61%20b.txt')" 'spaced\n'
answers 'absolute form' "$(get http://elsewhere:81/ten.txt)" '0123456789'
answers 'absolute form without a path' "$(get http://elsewhere)" 'index'
answers 'query' "$(get '/ten.txt?a=../..&b')" '0123456789'
answers 'well-known' "$(get /.well-known/file)" 'known\n'
answers 'link inside' "$(get /in.txt)" '0123456789'
answers 'link to a directory inside' "$(get /in-directory/file.txt)" 'deep\n'
answers 'HEAD' "HEAD /ten.txt HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" 'Content-Length: 10\r\n'
talk 'HEAD has no body' "send=HEAD /ten.txt HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n" eof 'expect=Content-Length: 10' \
    'without=0123'
answers 'OPTIONS' "OPTIONS * HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" '204 No Content' 'Allow: GET, HEAD'
answers 'other method' "DELETE /ten.txt HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n" '405 Method Not Allowed' 'Allow: GET, HEAD'
for path in /missing /ten.txt/ /ten.txt/x /dangling /fifo /out.txt /absolute.txt /up/secret.txt /proc-link/environ /.hidden \
    /.git/config //etc/passwd /..%2fsecret.txt '/..%5csecret.txt'; do
    talk "$path" "send=$(get "$path" 'Connection: close')" eof 'expect=404 Not Found' 'without=secret'
done
for path in /../secret.txt /sub/../../secret.txt /%2e%2e/secret.txt /.%2E/secret.txt /sub/.. /./ten.txt /%00 /a%; do
    talk "$path" "send=$(get "$path" 'Connection: close')" eof 'expect=400 Bad Request' 'without=secret'
done

# ---- conditions and ranges ----
talk 'validators' "send=$(get /ten.txt 'Connection: close')" eof print >answer
tag=$(sed -n 's/^ETag: \(.*\)\r$/\1/p' answer) modified=$(sed -n 's/^Last-Modified: \(.*\)\r$/\1/p' answer)
[ -n "$tag" ] && [ -n "$modified" ] || fail 'no validators'
old='Sun, 06 Nov 1994 08:49:37 GMT'
condition() { # STATUS FIELD...
    answers "$*" "$(get /ten.txt "${@:2}")" "HTTP/1.1 $1 "
}
condition 304 "If-None-Match: $tag"
condition 304 "If-None-Match: \"x\", W/$tag"
condition 304 'If-None-Match: *'
condition 200 'If-None-Match: "x"'
condition 304 "If-Modified-Since: $modified"
condition 200 "If-Modified-Since: $old"
condition 200 'If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT'
condition 200 'If-Modified-Since: Sun Nov  6 08:49:37 1994'
condition 200 'If-Modified-Since: yesterday'
condition 200 'If-None-Match: "x"' "If-Modified-Since: $modified"
condition 200 "If-Match: $tag"
condition 200 'If-Match: *'
condition 412 'If-Match: "x"'
condition 412 "If-Match: W/$tag"
condition 412 "If-Unmodified-Since: $old"
condition 200 "If-Unmodified-Since: $modified"
condition 206 'Range: bytes=0-0' "If-Range: $tag"
condition 206 'Range: bytes=0-0' "If-Range: $modified"
condition 200 'Range: bytes=0-0' 'If-Range: "x"'
condition 200 'Range: bytes=0-0' "If-Range: $old"
condition 200 'Range: bytes=0-1,3-4'
condition 200 'Range: bytes=3-1'
condition 200 'Range: bytes=x'
condition 200 'Range: bytes=-'
condition 200 'Range: lines=0-1'
condition 200 'Range: bytes=99999999999999999999-'
condition 304 'Range: bytes=0-0' "If-None-Match: $tag"
range() { # RANGE CONTENT-RANGE DATA
    answers "$1" "$(get /ten.txt "Range: $1")" "Content-Range: $2\\r\\n" "\\r\\n\\r\\n$3"
}
range bytes=0-0 'bytes 0-0/10' 0
range bytes=2-4 'bytes 2-4/10' 234
range bytes=7- 'bytes 7-9/10' 789
range bytes=7-99 'bytes 7-9/10' 789
range bytes=-3 'bytes 7-9/10' 789
range bytes=-99 'bytes 0-9/10' 0123456789
range bytes=10- 'bytes */10' ''
range bytes=-0 'bytes */10' ''
answers 'range of nothing' "$(get /empty.txt 'Range: bytes=0-')" '416 Range Not Satisfiable'

# ---- routes ----
answers hello "$(get /api/hello)" 'Hello from a goroutine.\n'
answers 'unknown route' "$(get /api/x)" '404 Not Found'
answers 'method of a route' "$(get /api/echo)" '405 Method Not Allowed' 'Allow: POST, PUT'
post='POST /api/echo HTTP/1.1\r\nHost: a\r\n'
answers 'echo' "${post}Content-Length: 3\\r\\nContent-Type: text/x\\r\\n\\r\\nabc" 'Content-Type: text/x\r\n' \
    'Transfer-Encoding: chunked\r\n' '3\r\nabc\r\n0\r\n\r\n'
answers 'echo of nothing' "${post}Content-Length: 0\\r\\n\\r\\n" '\r\n\r\n0\r\n\r\n'
answers 'echo, chunked' "${post}Transfer-Encoding: chunked\\r\\n\\r\\n1;a=\"b\"\\r\\na\\r\\n0000002\\r\\nbc\\r\\n00\\r\\nA: b\\r\\n\\r\\n" \
    '3\r\nabc\r\n0\r\n\r\n'
talk 'echo in pieces' "send=${post}Transfer-Encoding: chunked\\r\\n\\r\\n5\\r\\nab" 'expect=2\r\nab\r\n' send=c 'expect=1\r\nc\r\n' \
    'send=de\r\n0\r\n\r' 'expect=2\r\nde\r\n' 'send=\n' 'expect=0\r\n\r\n'
talk 'echo, HTTP/1.0' 'send=POST /api/echo HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc' eof 'expect=\r\n\r\nabc' 'without=chunked'
talk '100 Continue' "send=${post}Content-Length: 3\\r\\nExpect: 100-continue\\r\\n\\r\\n" 'expect=HTTP/1.1 100 Continue\r\n\r\n' send=abc \
    'expect=3\r\nabc\r\n0\r\n\r\n' "send=$(get /api/hello)" 'expect=Hello'
talk 'no 100 Continue for a refused body' 'send=PUT /ten.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n' \
    'expect=405' eof 'without=100 Continue' 'expect=Connection: close'
answers 'a body that nobody reads' 'DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n\{x*20000}' '405'
talk 'time' "send=$(get '/api/time?n=3&ms=10')" 'count=3: GMT\n\r\n' 'expect=0\r\n\r\n'
answers 'stats' "$(get /api/stats)" 'Content-Type: application/json' '"requests": '

# ---- connections ----
talk 'keep-alive' "send=$(get /ten.txt)" expect=0123456789 "send=$(get /sub/)" 'expect=in sub' quiet=50 half eof
talk 'close' "send=$(get /ten.txt 'Connection: close')" eof 'expect=Connection: close'
talk 'HTTP/1.0' 'send=GET /ten.txt HTTP/1.0\r\n\r\n' eof expect=0123456789 'expect=Connection: close'
talk 'HTTP/1.0, keep-alive' 'send=GET /ten.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n' 'expect=Connection: keep-alive' expect=0123456789 \
    quiet=50 'send=GET /ten.txt HTTP/1.0\r\n\r\n' eof 'count=2:0123456789'
talk 'empty lines between requests' "send=\\r\\n$(get /ten.txt)\\r\\n\\r\\n$(get /ten.txt)" 'count=2:0123456789'
talk 'pipelining' "send=\\{$(get /ten.txt)*500}" 'count=500:0123456789'
talk 'pipelining in order' "send=$(get '/ten.txt' 'Range: bytes=1-3')${post}Content-Length: 2\\r\\n\\r\\nxy$(get /sub/)$(get /missing)$(get /api/hello 'Connection: close')" \
    eof print >answer
same '123 xy in sub 404 Hello' "$(tr -d '\r\n' <answer | grep -aoE '123|xy|in sub|404 Not FoundHTTP|Hello' | sed 's/ Not.*//' | tr '\n' ' ' | sed 's/ $//')" \
    'answers in order'
talk 'byte by byte' "slow=1:$(get /ten.txt)${post}Transfer-Encoding: chunked\\r\\n\\r\\n" || :
talk 'what comes after "close" is not answered' "send=$(get /ten.txt 'Connection: close')$(get /sub/)" eof expect=0123456789 'without=in sub'
stop
grep -q '^127.0.0.1:[0-9]* "GET /sub?x=1&y" 301 0$' log || fail 'the log does not have the redirect'
grep -q '"GET /ten.txt" 206 3$' log || fail 'the log does not have the range'

# ---- the corpus ----
start --root=root
"$client" "$address" corpus "${corpus[@]}" >out || fail 'the corpus'
cat out
read -r cases _ <out
[ "${cases:-0}" -ge 200 ] || fail 'the corpus is too small'
stop

# ---- without links ----
start --root=root --no-symlinks
answers 'no links: a file' "$(get /deep/er/file.txt)" 'deep\n'
answers 'no links: an index' "$(get /sub/)$(get /)" 'in sub' '<title>'
answers 'no links: a redirect' "$(get /sub)" 'Location: /sub/\r\n'
for path in /in.txt /in-directory/file.txt /out.txt /up/secret.txt /absolute.txt /missing /ten.txt/x /ten.txt/ /fifo; do
    talk "no links: $path" "send=$(get "$path" 'Connection: close')" eof 'expect=404 Not Found'
done
stop
start
answers 'no root' "$(get /)" '404 Not Found'
stop

# What may not be read: as another user when this is root, whom nothing stops.
chmod 000 root/closed
as_user=()
[ "$(id -u)" -ne 0 ] || as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups)
chmod 755 . && cp -- "$program" httpd && chmod 755 httpd
if "${as_user[@]}" ./httpd --help >/dev/null 2>&1; then
    real=$program program=$work/as_user
    printf '#!/bin/bash\nexec %s %s "$@"\n' "${as_user[*]}" "$work/httpd" >as_user && chmod 755 as_user
    start --root=root
    answers 'closed' "$(get /closed/x)" '403 Forbidden'
    stop
    program=$real
else
    echo 'httpd.sh: skipped: what may not be read (the program cannot be run as another user here)'
fi
chmod 755 root/closed

# ---- limits ----
start --root=root --max-body=1000 --max-header=500 --max-requests=3
talk 'largest body' "send=${post}Content-Length: 1000\\r\\n\\r\\n\\{x*1000}" 'count=1000:x' 'expect=\r\n0\r\n\r\n'
talk 'body too large' "send=${post}Content-Length: 1001\\r\\n\\r\\n" 'expect=413 Content Too Large' eof
talk 'chunks too large' "send=${post}Transfer-Encoding: chunked\\r\\n\\r\\n3e8\\r\\n\\{x*1000}\\r\\n1\\r\\nx\\r\\n0\\r\\n\\r\\n" closed=0:60000 \
    'without=0\r\n\r\n'
talk 'head too large' "send=$(get / 'A: \{x*500}')" 'expect=431 Request Header' eof
talk 'target too long' "send=$(get '/\{x*500}')" 'expect=414 URI Too Long' eof
talk 'largest head' "send=$(get / 'A: \{x*440}')" 'expect=200 OK'
talk 'requests' "send=\\{$(get /ten.txt)*5}" eof count=3:0123456789 'expect=Connection: close' print >answer
same 3 "$(grep -ac 0123456789 answer)" 'answers of a connection'
stop
start --max-connections=2
talk 'places' "send=$(get /api/hello)" expect=Hello sleep=2000 &
first=$!
talk 'places' "send=$(get /api/hello)" expect=Hello sleep=2000 &
second=$!
for _ in $(seq 100); do
    sleep 0.05
    [ "$(ss -Htn state established "sport = :${address##*:}" 2>/dev/null | wc -l)" -ge 2 ] && break
done
sleep 0.3
"$client" "$address" "send=$(get /api/hello)" quiet=300 expect=Hello || fail 'a third connection does not wait for its place'
wait "$first" "$second"
stop

# ---- slow clients ----
start --root=root --header-timeout=0.4 --body-timeout=0.4 --idle-timeout=0.6 --write-timeout=0.4
talk 'slow head' "slow=100:$(get /ten.txt 'A: \{x*1000}')" 'expect=408 Request Timeout' closed=400:60000
talk 'head that stops' 'send=GET / HTTP/1.1\r\nHo' 'expect=408 Request Timeout' eof
talk 'slow body' "send=${post}Content-Length: 1000\\r\\n\\r\\n" 'slow=100:\{x*1000}' closed=400:60000 'without=0\r\n\r\n'
talk 'body that stops' "send=${post}Content-Length: 1000\\r\\n\\r\\n" 'expect=408 Request Timeout' closed=400:60000
talk 'chunks that stop' "send=${post}Transfer-Encoding: chunked\\r\\n\\r\\n1\\r\\nx\\r\\n" closed=400:60000 'without=0\r\n\r\n'
talk 'idle from the beginning' closed=600:60000
talk 'idle' "send=$(get /ten.txt)" expect=0123456789 closed=600:60000
talk 'slow lorises' 'send=' closed=600:60000
for i in $(seq 50); do
    "$client" "$address" "slow=50:$(get / 'A: \{x*1000}')" closed=400:60000 &
done
talk 'another among slow ones' "send=$(get /ten.txt)" expect=0123456789
wait $(jobs -p | grep -vx "$server") || fail 'a slow client'
talk 'idle begins after the answer' "send=$(get '/api/time?n=5&ms=300')" 'expect=0\r\n\r\n' "send=$(get /ten.txt)" expect=0123456789 \
    closed=1800:60000
talk 'reads nothing' "send=\\{$(get /big.bin)*4}" sleep=3000 closed=0:60000
stop

# ---- many connections, and what they leave ----
start --root=root
mkfifo hold
"$client" "$address" many 1000 <hold >out &
many=$!
exec 9>hold
for _ in $(seq 600); do
    [ -s out ] && break
    sleep 0.05
done
same 'all answered' "$(cat out)" '1,000 connections'
talk 'stats of many' "send=$(get /api/stats)" 'expect="connections": 1001,'
exec 9>&-
wait "$many" || fail 'many'

# ---- curl ----
if command -v curl >/dev/null; then
    url=http://$address
    curl -sS -o got "$url/big.bin" && cmp got root/big.bin || fail 'curl: a large file'
    curl -sS -o got -r 1000000-3999999 "$url/big.bin" && cmp got <(tail -c +1000001 root/big.bin | head -c 3000000) || fail 'curl: a range'
    head -c 2000000 root/big.bin >partial && curl -sS -C - -o partial "$url/big.bin" && cmp partial root/big.bin || fail 'curl: resume'
    head -c 1000000 root/big.bin >some
    curl -sS --data-binary @some -o got "$url/api/echo" && cmp got some || fail 'curl: echo'
    curl -sS -H 'Expect: 100-continue' -H 'Transfer-Encoding: chunked' -T some -o got "$url/api/echo" && cmp got some || fail 'curl: echo, chunked'
    same '413' "$(curl -sS -o /dev/null -w '%{http_code}' -H Expect: --data-binary @root/big.bin "$url/api/echo")" 'curl: too much'
    same '1 0 0' "$(curl -sS -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects} ' "$url/" "$url/sub/" "$url/api/hello" | sed 's/ $//')" \
        'curl: one connection'
    same '304' "$(curl -sS -o /dev/null -w '%{http_code}' -z root/ten.txt "$url/ten.txt")" 'curl: not modified'
    same 'in sub' "$(curl -sSL "$url/sub")" 'curl: redirect'
    same '5' "$(curl -sSN "$url/api/time?n=5&ms=20" | wc -l)" 'curl: time'
    curl -sS -I -o got "$url/big.bin" && grep -q '^Content-Length: 5000000' got || fail 'curl: HEAD'
    curls=()
    for i in $(seq 20); do
        { curl -sS "$url/big.bin" | cmp - root/big.bin; } &
        curls+=($!)
    done
    for i in "${curls[@]}"; do
        wait "$i" || fail 'curl: large files at the same time'
    done
    checks=$((checks + 13))
else
    echo 'httpd.sh: skipped: curl (it is not installed)'
fi

# ---- wrk ----
if command -v wrk >/dev/null; then
    for connections in 100 1000; do
        for path in /api/hello /index.html; do
            checks=$((checks + 1))
            wrk -t2 -c$connections -d2s --timeout 20s "http://$address$path" >out 2>&1
            if grep -qE 'Socket errors|Non-2xx' out || ! grep -q '^Requests/sec' out; then
                fail "wrk -c$connections $path"
                cat out >&2
            fi
        done
    done
else
    echo 'httpd.sh: skipped: wrk (it is not installed)'
fi
stop

# ---- the end ----
start --root=root
talk 'running' "send=$(get '/api/time?n=4&ms=300')" 'expect= GMT' 'expect=0\r\n\r\n' eof &
running=$!
talk 'idle at the end' "send=$(get /ten.txt)" expect=0123456789 eof &
idle=$!
talk 'silent at the end' eof &
silent=$!
sleep 0.5
kill -TERM "$server"
for job in $running $idle $silent; do
    wait "$job" || fail 'a connection at the end'
done
ended
start --root=root --stop-timeout=0.3
talk 'cut off' "send=$(get '/api/time?n=1000&ms=1000')" 'expect= GMT' closed=0:60000 'without=\r\n0\r\n' &
running=$!
talk 'cut off' 'send=GET / HT' closed=0:60000 &
other=$!
sleep 0.5
kill -INT "$server"
wait "$running" "$other" || fail 'a connection is not cut off'
ended 'httpd: 2 connections were cut off'
start --root=root --stop-timeout=1000
"$client" "$address" "send=$(get '/api/time?n=1000&ms=1000')" 'expect= GMT' closed=0:60000 &
running=$!
sleep 0.5
kill -TERM "$server"
sleep 0.3
kill -TERM "$server"
wait "$server"
same 143 $? 'exit status after two signals'
server=
wait "$running"

echo "httpd.sh: $checks checks, $failures failures"
[ "$failures" -eq 0 ]
