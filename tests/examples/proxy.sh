#!/bin/bash
# Tests examples/proxy: proxy.sh PROGRAM. The clients and servers are small programs in Python, whose sockets do what they are told.
set -u
program=$(realpath -- "$1") || exit 2
export LC_ALL=C
if ! command -v python3 >/dev/null; then
    echo 'proxy.sh: skipped: there is no python3'
    exit 0
fi
work=$(mktemp -d) || exit 2
proxy_pid=
trap '[ -n "$proxy_pid" ] && kill -9 "$proxy_pid" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2

# ---- usage ----
failures=0
fail() {
    echo "proxy.sh: FAILED: $*" >&2
    failures=$((failures + 1))
}
for wrong in '' '--listen 127.0.0.1:0' '--to 127.0.0.1:1' '--listen 127.0.0.1:0 --to 127.0.0.1:1 more' \
    '--listen 127.0.0.1:0 --to 127.0.0.1:1 --idle 0' '--listen 127.0.0.1:0 --to 127.0.0.1:1 --connections 1x' '--nonsense'; do
    # shellcheck disable=SC2086
    timeout 20 "$program" $wrong >out 2>err
    [ $? -eq 2 ] && [ -s err ] && [ ! -s out ] || fail "wrong usage '$wrong'"
done
timeout 20 "$program" --help >out 2>err
[ $? -eq 0 ] && grep -q '^usage: proxy' out && [ ! -s err ] || fail '--help'
timeout 20 "$program" --listen 127.0.0.1:nonsense --to 127.0.0.1:1 >out 2>err
[ $? -eq 1 ] && [ -s err ] || fail 'an address that is none'

# ---- the rest ----
cat >driver.py <<'PYTHON'
import os, re, signal, socket, struct, subprocess, sys, threading, time

PROGRAM = sys.argv[1]
# TSan keeps a signal back until its thread calls something that it intercepts, which a thread asleep in weft_run does not.
SIGNALS = b'__tsan_init' not in open(PROGRAM, 'rb').read()
LIMIT = 60  # seconds that nothing here should need
socket.setdefaulttimeout(LIMIT)


class Proxy:
    def __init__(self, to, *options):
        self.process = subprocess.Popen([PROGRAM, '--listen', '127.0.0.1:0', '--to', to, *options], stdout=subprocess.PIPE, text=True)
        with open('proxy.pid', 'w') as f:
            f.write(str(self.process.pid))
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r'proxy: listening on 127\.0\.0\.1:(\d+)\n', line).group(1))

    def connect(self):
        return socket.create_connection(('127.0.0.1', self.port))

    def log(self):
        return self.process.stdout.readline()

    def rss(self):
        with open(f'/proc/{self.process.pid}/status') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read()).group(1)) * 1024

    def fds(self):
        """Its sockets."""
        count, directory = 0, f'/proc/{self.process.pid}/fd'
        for name in os.listdir(directory):
            try:
                count += os.readlink(f'{directory}/{name}').startswith('socket:')
            except FileNotFoundError:
                pass  # closed meanwhile
        return count

    def stop(self):
        self.process.send_signal(signal.SIGTERM if SIGNALS else signal.SIGKILL)
        status = self.process.wait(LIMIT)
        assert status == 0 or not SIGNALS, status
        return self.process.stdout.read()


class Server:
    """Listens; each connection is accepted by the test itself."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.listener.getsockname()[1]

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(LIMIT)
        return connection


def receive_all(s):
    parts = []
    while (part := s.recv(1 << 16)):
        parts.append(part)
    return b''.join(parts)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    s.close()


def is_reset(s):
    try:
        s.recv(10)
        return False
    except ConnectionResetError:
        return True


def until(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, 'it never came to that'
        time.sleep(0.01)


def pair(*options):
    server = Server()
    proxy = Proxy(server.address, *options)
    client = proxy.connect()
    return proxy, client, server.accept()


def data_both_ways():
    """Several MB in both directions at the same time."""
    proxy, client, server = pair()
    up, down = os.urandom(5_000_000), os.urandom(7_000_000)
    got = {}

    def run(name, s, data):
        sender = threading.Thread(target=lambda: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
        sender.start()
        got[name] = receive_all(s)
        sender.join()

    threads = [threading.Thread(target=run, args=a) for a in (('client', client, up), ('server', server, down))]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert got['server'] == up and got['client'] == down
    assert re.search(r'^127\.0\.0\.1:\d+: 5000000 bytes up, 7000000 down, [\d.]+ s, ok$', proxy.log())
    proxy.stop()


def small_messages():
    """Nothing waits in the proxy for more to come."""
    proxy, client, server = pair()
    for i in range(200):
        client.sendall(b'%03d' % i)
        assert server.recv(10) == b'%03d' % i
        server.sendall(b'got %03d' % i)
        assert client.recv(20) == b'got %03d' % i
    client.close()
    server.close()
    assert '600 bytes up, 1400 down' in proxy.log()
    proxy.stop()


def half_close():
    """The end of one direction is passed on, and the other goes on."""
    proxy, client, server = pair()
    client.sendall(b'question')
    client.shutdown(socket.SHUT_WR)
    assert receive_all(server) == b'question'
    for _ in range(3):
        time.sleep(0.02)
        server.sendall(b'answer')
    server.close()
    assert receive_all(client) == b'answer' * 3
    assert '8 bytes up, 18 down' in (line := proxy.log()) and line.endswith(', ok\n')
    proxy.stop()


def slow_reader():
    """A reader that stalls holds the sender back; what is under way stays small, and nothing is lost."""
    proxy, client, server = pair()
    before = proxy.rss()
    sent = 0
    client.settimeout(1)
    try:
        while sent < 1 << 30:
            sent += client.send(b'x' * (1 << 20))
    except TimeoutError:
        pass
    assert sent < 1 << 30, 'nobody held the sender back'
    grown = proxy.rss() - before
    assert grown < 4 << 20, f'the proxy grew by {grown} bytes'
    client.settimeout(LIMIT)
    threading.Thread(target=lambda: client.shutdown(socket.SHUT_WR)).start()
    assert len(receive_all(server)) == sent
    server.close()
    assert f'{sent} bytes up' in proxy.log()
    proxy.stop()


def refused():
    """No server: the client's connection ends, and the next ones too."""
    closed = Server()
    closed.listener.close()
    proxy = Proxy(closed.address)
    for _ in range(3):
        client = proxy.connect()
        assert receive_all(client) == b''
        assert 'no server: Connection refused' in proxy.log()
    proxy.stop()


def connect_timeout():
    """A server that does not answer: its backlog is full."""
    server = Server()
    server.listener.listen(0)
    waiting = []
    for _ in range(8):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(server.listener.getsockname())
        waiting.append(s)
    time.sleep(0.1)
    proxy = Proxy(server.address, '--connect', '1')
    client = proxy.connect()
    assert receive_all(client) == b''
    assert 'no server: Connection timed out' in proxy.log()
    proxy.stop()


def client_reset():
    """A reset of the client reaches the server as one: what it got is not the whole."""
    proxy, client, server = pair()
    client.sendall(b'part')
    assert server.recv(10) == b'part'
    reset(client)
    assert is_reset(server), 'the server was told of an orderly end'
    assert '4 bytes up, 0 down' in (line := proxy.log()) and 'Connection reset by peer' in line
    proxy.stop()


def server_reset():
    proxy, client, server = pair()
    client.sendall(b'part')
    assert server.recv(10) == b'part'
    reset(server)
    assert is_reset(client), 'the client was told of an orderly end'
    assert 'Connection reset by peer' in proxy.log()
    proxy.stop()


def idle():
    """A connection on which nothing moves is ended; one on which now and then a byte does is not."""
    server = Server()
    proxy = Proxy(server.address, '--idle', '3')
    quiet, quiet_server = proxy.connect(), server.accept()
    busy, busy_server = proxy.connect(), server.accept()
    for _ in range(20):
        time.sleep(0.2)
        busy.sendall(b'.')
        assert busy_server.recv(10) == b'.'
    assert is_reset(quiet) and is_reset(quiet_server)
    assert '0 bytes up, 0 down' in (line := proxy.log()) and 'timed out' in line
    busy.close()
    assert receive_all(busy_server) == b''
    busy_server.close()
    assert '20 bytes up' in (line := proxy.log()) and line.endswith(', ok\n')
    proxy.stop()


def limit():
    """One more connection than allowed waits until another has ended."""
    server = Server()
    proxy = Proxy(server.address, '--connections', '2')
    clients = [proxy.connect() for _ in range(3)]
    for i in range(3):
        clients[i].sendall(b'%d' % i)
    servers = {int(s.recv(1)): s for s in (server.accept(), server.accept())}
    assert sorted(servers) == [0, 1]
    server.listener.settimeout(0.3)
    try:
        server.accept()
        assert False, 'a third connection'
    except TimeoutError:
        pass
    server.listener.settimeout(LIMIT)
    clients[0].close()
    servers[0].close()
    third = server.accept()
    assert third.recv(10) == b'2'
    for s in [*clients, *servers.values(), third]:
        s.close()
    assert all('bytes up' in proxy.log() for _ in range(3))
    proxy.stop()


def graceful():
    """SIGTERM: nobody new, but what goes on may end; all of it is logged."""
    proxy, client, server = pair()
    client.sendall(b'before')
    assert server.recv(10) == b'before'
    before = proxy.fds()
    proxy.process.send_signal(signal.SIGTERM)
    until(lambda: proxy.fds() == before - 1)  # the listener
    try:
        proxy.connect()
        assert False, 'it still listens'
    except ConnectionRefusedError:
        pass
    server.sendall(b'after')
    assert client.recv(10) == b'after'
    client.close()
    assert receive_all(server) == b''
    server.close()
    assert proxy.process.wait(LIMIT) == 0
    assert '6 bytes up, 5 down' in proxy.process.stdout.read()


def grace_is_over():
    """Who has not ended when the grace is over is ended; or at a second signal, at once."""
    for second in False, True:
        proxy, client, server = pair('--grace', '50' if second else '1')
        client.sendall(b'x')
        assert server.recv(1) == b'x'
        start = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        if second:
            time.sleep(0.2)
            proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(LIMIT) == 0
        assert time.monotonic() - start < 40
        assert 'canceled' in proxy.process.stdout.read()


def many():
    """Connections come and go; in the end no descriptor is left."""
    server = Server()
    proxy = Proxy(server.address)
    before = proxy.fds()
    stop = threading.Event()

    def echo(s):
        try:
            while (data := s.recv(4096)):
                s.sendall(data)
        except ConnectionError:
            pass
        s.close()

    def serve():
        while not stop.is_set():
            try:
                threading.Thread(target=echo, args=(server.accept(),)).start()
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()

    def client(i):
        for j in range(10):
            s = proxy.connect()
            message = os.urandom(1 + (i * 7919 + j * 104729) % 20000)
            s.sendall(message)
            if (i + j) % 5 == 0:
                reset(s)
                continue
            s.shutdown(socket.SHUT_WR)
            assert receive_all(s) == message
            s.close()

    results = []
    threads = [threading.Thread(target=lambda i=i: (client(i), results.append(i))) for i in range(30)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 30
    until(lambda: proxy.fds() == before)
    stop.set()
    server.listener.close()
    lines = [proxy.log() for _ in range(300)]
    assert sum(line.endswith(', ok\n') for line in lines) >= 240 and proxy.stop() == ''


tests = [data_both_ways, small_messages, half_close, slow_reader, refused, connect_timeout, client_reset, server_reset, idle, limit, many]
if SIGNALS:
    tests += [graceful, grace_is_over]
else:
    print('proxy.sh: skipped: signals (under TSan)')
for test in tests:
    print('proxy.sh:', test.__name__, flush=True)
    test()
print(f'proxy.sh: {len(tests)} tests passed')
PYTHON
timeout 250 python3 driver.py "$program" || { fail 'the above'; [ -f proxy.pid ] && proxy_pid=$(cat proxy.pid); }
[ "$failures" -eq 0 ]
