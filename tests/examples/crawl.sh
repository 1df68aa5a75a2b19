#!/bin/bash
# Tests examples/crawl: crawl.sh PROGRAM. It runs examples/httpd, which is beside it, over a small tree with broken links of every kind, and
# compares the report.
set -u
program=$(realpath -- "$1") || exit 2
export LC_ALL=C
work=$(mktemp -d) || exit 2
pids=()
trap '[ ${#pids[@]} -gt 0 ] && kill -9 "${pids[@]}" 2>/dev/null; rm -rf "$work"' EXIT
failures=0 checks=0

fail() {
    echo "crawl.sh: FAILED: $*" >&2
    failures=$((failures + 1))
}

for httpd in "$(dirname "$program")/httpd" "$(dirname "$program")/../httpd/httpd"; do
    [ -f "$httpd" ] && [ -x "$httpd" ] && break
done
[ -x "$httpd" ] || { echo 'crawl.sh: there is no httpd beside it' >&2; exit 1; }

# serve DIRECTORY: starts httpd; leaves its address in $address.
serve() {
    address=
    : >"$work/said"
    "$httpd" --listen=127.0.0.1:0 --root="$1" >"$work/said" 2>&1 &
    pids+=($!)
    disown # no word about its end
    for _ in $(seq 1000); do
        address=$(grep -oE '127\.0\.0\.1:[1-9][0-9]*' "$work/said" | head -1)
        [ -n "$address" ] && return
        sleep 0.01
    done
    fail 'httpd does not start'
    exit 1
}

# crawl ARGS...: runs it; leaves $work/out and $work/err, in which the server is called SITE, and $status.
crawl() {
    checks=$((checks + 1))
    timeout 100 "$program" "$@" >"$work/out.raw" 2>"$work/err"
    status=$?
    sed "s,http://$address,SITE,g" "$work/out.raw" >"$work/out"
}

# expect STATUS WHAT: compares with standard input.
expect() {
    cat >"$work/expected"
    [ "$status" -eq "$1" ] || fail "$2: status $status instead of $1"
    cmp -s "$work/expected" "$work/out" || { fail "$2: output differs"; diff "$work/expected" "$work/out" >&2; }
}

# ---- a tree with broken links ----
mkdir -p "$work/tree/sub/deep" "$work/good"
cd "$work/tree" || exit 2
cat >index.html <<'HTML'
<!DOCTYPE html><html><head><title>start</title><link rel="stylesheet" href="style.css"></head><body id="start">
<a href="page.html">good</a> <A HREF="page.html#here">a place</A> <a href='page.html#old'>a place of old</a>
<a href=page.html#nowhere>no such place</a> <a href="#start">here</a> <a href="#top">the top</a> <a href="#not">not here</a>
<a href="missing.html">missing</a> <a href="./sub/../missing.html">the same</a> <a href="missing.html">and again</a>
<a href="sub">a directory</a> <a href=" sub/ ">with blanks</a> <img src="picture.png"><img src="gone.png">
<a href="with space.html">a blank inside</a> <a href="with%20space.html">the same</a>
<a href="mailto:nobody@example.org">mail</a> <a href="http://elsewhere.invalid/">elsewhere</a>
<a href="http://[bad">no URL</a> <a href="">this page</a>
<!-- <a href="commented-out.html">no link</a> --> <p>unclosed <b>tags <i>everywhere
HTML
echo '<p id="here"><a name="old"></a><a href="/index.html">back</a> <a href="missing.html">missing</a>
<a href="sub/deep/page.html#%c3%a9t%c3%a9">escaped</a>' >page.html
echo '<base href="deep/"><a href="page.html">by the base</a> <a href="nothing.html">by the base</a> <a href="../../page.html">up</a>
<a href="../../../../page.html">beyond the root</a>' >sub/index.html
echo '<meta charset="utf-8"><h1 id="été">summer</h1><a href="?a=1&amp;b=2">a query</a>' >sub/deep/page.html
echo 'body { background: url(not-looked-at.png) }' >style.css
echo x | tee picture.png 'with space.html' >../good/file.txt
echo '<a href="file.txt">text</a> <a href="index.html">itself</a> <a href="/">the same</a>' >../good/index.html

{
    for i in $(seq 4000); do echo "<p id=p$i>a long page, of which not all comes at once <a href=\"#p$i\">here</a></p>"; done
    echo '<a href="long.html#p4000">good</a> <a href="long.html#p4001">not</a>'
} >long.html
echo '<a href="long.html#p3999">long</a>' >>page.html

serve "$work/tree"
for jobs in 1 3 32 1000; do
    crawl -j "$jobs" "http://$address/index.html"
    expect 1 "-j $jobs" <<'TEXT'
SITE/index.html -> SITE/gone.png: HTTP status 404
SITE/index.html -> SITE/index.html#not: no such place in the page
SITE/index.html -> SITE/missing.html: HTTP status 404
SITE/index.html -> SITE/page.html#nowhere: no such place in the page
SITE/index.html -> http://[bad: malformed
SITE/long.html -> SITE/long.html#p4001: no such place in the page
SITE/page.html -> SITE/missing.html: HTTP status 404
SITE/sub/ -> SITE/sub/deep/nothing.html: HTTP status 404
TEXT
    grep -q ': 8 broken$' "$work/err" || fail "-j $jobs: the summary"
done
crawl "HTTP://LOCALHOST:${address#*:}/style.css#ignored"
expect 0 'a page without links' </dev/null
crawl "http://$address/no/such/page"
expect 1 'a start that is missing' <<'TEXT'
(start) -> SITE/no/such/page: HTTP status 404
TEXT

serve "$work/good"
crawl "http://$address"
expect 0 'no broken links' </dev/null
grep -q '^crawl: 3 URLs and 6 links checked, .*: 0 broken$' "$work/err" || fail 'the summary says each URL once'

# ---- servers that are not good ----
kill -9 "${pids[1]}"
while kill -0 "${pids[1]}" 2>/dev/null; do sleep 0.01; done
crawl "http://$address/"
expect 1 'nobody there' <<'TEXT'
(start) -> SITE/: Connection refused
TEXT

# bad_server ANSWER: a server that gives every request that answer; leaves $address.
bad_server() {
    : >"$work/said"
    python3 - "$1" >"$work/said" <<'PYTHON' &
import socket, sys, threading
listener = socket.create_server(('127.0.0.1', 0))
print('127.0.0.1:%d' % listener.getsockname()[1], flush=True)
keep = []
answer = sys.argv[1].encode().decode('unicode_escape').encode('latin-1')
def serve(s):
    while s.recv(4096):
        if answer == b'drip':
            s.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n')
            continue
        s.sendall(answer)
        if b'ontent-' not in answer or b'CLOSE' in answer:
            s.close()
            return
while True:
    s, _ = listener.accept()
    threading.Thread(target=serve, args=(s,), daemon=True).start()
PYTHON
    pids+=($!)
    disown # no word about its end
    address=
    for _ in $(seq 1000); do
        address=$(head -1 "$work/said")
        [ -n "$address" ] && return
        sleep 0.01
    done
    fail 'the bad server does not start'
    exit 1
}
if command -v python3 >/dev/null; then
    bad_server 'drip'
    crawl --timeout=1 "http://$address/"
    expect 1 'an answer that does not end' <<'TEXT'
(start) -> SITE/: Connection timed out
TEXT
    bad_server 'this is no HTTP at all\r\n\r\n'
    crawl "http://$address/"
    expect 1 'no HTTP' <<'TEXT'
(start) -> SITE/: Protocol error
TEXT
    bad_server 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 100\r\n\r\nCLOSEd too early'
    crawl "http://$address/"
    expect 1 'an answer that is cut' <<'TEXT'
(start) -> SITE/: Protocol error
TEXT
    bad_server 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end'
    crawl "http://$address/"
    expect 0 'an answer that the end of the connection ends' </dev/null
    bad_server 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 18\r\n\r\n<a href="/other">CLOSE'
    crawl "http://$address/"
    expect 0 'a server that closes kept connections' </dev/null
    bad_server 'HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n'
    crawl "http://$address/"
    expect 1 'a redirect in circles' <<'TEXT'
(start) -> SITE/: too many redirects
TEXT
    bad_server 'HTTP/1.1 301 Moved\r\nLocation: //elsewhere.invalid/x\r\nContent-Length: 0\r\n\r\n'
    crawl "http://$address/"
    expect 0 'a redirect to elsewhere' </dev/null
else
    echo 'crawl.sh: skipped: bad servers (there is no python3)'
fi

# ---- usage ----
timeout 20 "$program" --help >"$work/out" 2>"$work/err"
[ $? -eq 0 ] && grep -q '^usage: crawl' "$work/out" || fail '--help'
for wrong in '' 'https://127.0.0.1/' 'index.html' 'http:///' '-j 0 http://127.0.0.1/' '-j x http://127.0.0.1/' 'http://127.0.0.1/ more' \
    '--timeout=0 http://127.0.0.1/' '--nonsense'; do
    # shellcheck disable=SC2086
    timeout 20 "$program" $wrong >"$work/out" 2>"$work/err"
    [ $? -eq 2 ] && [ -s "$work/err" ] && [ ! -s "$work/out" ] || fail "wrong usage '$wrong'"
done

echo "crawl.sh: $checks runs, $failures failures"
[ "$failures" -eq 0 ]
