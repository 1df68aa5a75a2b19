/* net_udp.c — datagrams: what Go's net tests check of UDP (udpsock_test.go, packetconn_test.go, server_test.go). */
#include "sockets.h"

#include <netinet/in.h>
#include <sys/uio.h>

static const char *const networks[] = {"udp4", "udp6"};

static int n_networks(void)
{
    return has_ipv6() ? 2 : 1;
}

/* The address that fd is bound to, for weft_sendto. */
static unsigned address_of(int fd, struct sockaddr_storage *address)
{
    socklen_t length = sizeof *address;
    CHECK_EQ(getsockname(fd, (struct sockaddr *)address, &length), 0);
    return length;
}

static void check_same(const struct sockaddr_storage *a, unsigned length, int fd)
{
    struct sockaddr_storage own;
    CHECK_EQ(length, address_of(fd, &own));
    CHECK(memcmp(a, &own, length) == 0);
}

/* Unconnected: each datagram says where it goes. */
TEST_BOTH(WriteToUDP)
{
    for (int i = 0; i < n_networks(); i++) {
        char text[WEFT_ADDRESS], buffer[100];
        int a = listen_own(networks[i], text), b = listen_own(networks[i], text);
        struct sockaddr_storage to, from;
        unsigned to_length = address_of(b, &to), from_length = sizeof from;
        CHECK_EQ(weft_write(a, "nowhere", 7), -EDESTADDRREQ);
        CHECK_EQ(weft_sendto(a, "one", 3, 0, (struct sockaddr *)&to, to_length), 3);
        CHECK_EQ(weft_sendto(a, "three", 5, 0, (struct sockaddr *)&to, to_length), 5);
        CHECK_EQ(weft_recvfrom(b, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &from_length), 3);
        CHECK(memcmp(buffer, "one", 3) == 0);
        check_same(&from, from_length, a);
        CHECK_EQ(weft_read(b, buffer, sizeof buffer), 5);
        CHECK(memcmp(buffer, "three", 5) == 0);
        CHECK_EQ(weft_sendto(b, "back", 4, 0, (struct sockaddr *)&from, from_length), 4);
        CHECK_EQ(weft_recvfrom(a, buffer, sizeof buffer, 0, NULL, NULL), 4);
        shut(a);
        shut(b);
    }
}

/* Connected: read and write do; what comes from elsewhere is not seen. */
TEST_BOTH(ConnectedUDP)
{
    for (int i = 0; i < n_networks(); i++) {
        char text[WEFT_ADDRESS], peer[WEFT_ADDRESS], buffer[100];
        int server = listen_own(networks[i], text), other = listen_own(networks[i], peer);
        int client = good(weft_dial(networks[i], text));
        struct sockaddr_storage to, from;
        unsigned length = sizeof from;
        CHECK(weft_peer_address(client, peer, sizeof peer) > 0);
        CHECK(strcmp(peer, text) == 0);
        CHECK_EQ(weft_write(client, "hello", 5), 5);
        CHECK_EQ(weft_recvfrom(server, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length), 5);
        unsigned to_length = address_of(client, &to);
        check_same(&from, length, client);
        CHECK_EQ(weft_sendto(other, "stranger", 8, 0, (struct sockaddr *)&to, to_length), 8);
        CHECK_EQ(weft_sendto(server, "friend", 6, 0, (struct sockaddr *)&to, to_length), 6);
        CHECK_EQ(weft_read(client, buffer, sizeof buffer), 6);
        CHECK_EQ(weft_recvfrom(client, buffer, sizeof buffer, MSG_DONTWAIT, NULL, NULL), -EAGAIN);
        shut(client);
        shut(server);
        shut(other);
    }
}

TEST_BOTH(DialUDPByName)
{
    char text[WEFT_ADDRESS], buffer[10];
    int server = listen_own("udp4", text);
    snprintf(text, sizeof text, "localhost:%d", port_in(text));
    int client = good(weft_dial("udp4", text));
    CHECK_EQ(weft_write(client, "x", 1), 1);
    CHECK_EQ(weft_read(server, buffer, sizeof buffer), 1);
    shut(client);
    shut(server);
}

/* Nobody is there: the kernel says so at the next call, as an error of the connected socket, which remains usable. */
TEST_BOTH(UDPNobodyThere)
{
    char text[WEFT_ADDRESS], buffer[10];
    int server = listen_own("udp4", text), client = good(weft_dial("udp4", text));
    shut(server);
    CHECK_EQ(weft_write(client, "x", 1), 1);
    CHECK_EQ(weft_read(client, buffer, sizeof buffer), -ECONNREFUSED); /* waits for it, if need be */
    server = weft_listen("udp4", text);
    if (server >= 0) { /* unless somebody else has the port now */
        CHECK_EQ(weft_write(client, "x", 1), 1);
        CHECK_EQ(weft_read(server, buffer, sizeof buffer), 1);
        shut(server);
    }
    shut(client);
}

TEST_BOTH(UDPZeroBytePayload)
{
    for (int i = 0; i < n_networks(); i++)
        for (int connected = 0; connected < 2; connected++) {
            char text[WEFT_ADDRESS], byte = 'y';
            int server = listen_own(networks[i], text), client;
            struct sockaddr_storage to, from;
            unsigned to_length = address_of(server, &to), length = sizeof from;
            if (connected) {
                client = good(weft_dial(networks[i], text));
                CHECK_EQ(weft_write(client, "", 0), 0);
            } else {
                client = listen_own(networks[i], text);
                CHECK_EQ(weft_sendto(client, "", 0, 0, (struct sockaddr *)&to, to_length), 0);
            }
            CHECK_EQ(weft_sendto(client, "z", 1, 0, connected ? NULL : (struct sockaddr *)&to, connected ? 0 : to_length),
                     1);
            CHECK_EQ(weft_recvfrom(server, &byte, 1, 0, (struct sockaddr *)&from, &length), 0); /* a datagram, and no end */
            CHECK_EQ(byte, 'y');
            check_same(&from, length, client);
            CHECK_EQ(weft_read(server, &byte, 1), 1);
            CHECK_EQ(byte, 'z');
            shut(client);
            shut(server);
        }
}

/* Room for nothing: the datagram is taken off all the same. */
TEST_BOTH(UDPZeroByteBuffer)
{
    for (int i = 0; i < n_networks(); i++) {
        char text[WEFT_ADDRESS], buffer[10];
        int server = listen_own(networks[i], text), client = good(weft_dial(networks[i], text));
        CHECK_EQ(weft_write(client, "first", 5), 5);
        CHECK_EQ(weft_write(client, "second", 6), 6);
        CHECK_EQ(weft_recvfrom(server, buffer, 0, 0, NULL, NULL), 0);
        CHECK_EQ(weft_recvfrom(server, buffer, sizeof buffer, 0, NULL, NULL), 6);
        shut(client);
        shut(server);
    }
}

/* Too little room: cut, which recvmsg tells. */
TEST_BOTH(UDPReadSizeError)
{
    char text[WEFT_ADDRESS], buffer[10];
    int server = listen_own("udp4", text), client = good(weft_dial("udp4", text));
    struct iovec parts[] = {{buffer, 2}, {buffer + 5, 2}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    for (int i = 0; i < 3; i++)
        CHECK_EQ(weft_write(client, "12345678", 8), 8);
    CHECK_EQ(weft_read(server, buffer, 3), 3);
    CHECK_EQ(weft_recvmsg(server, &message, 0), 4);
    CHECK(message.msg_flags & MSG_TRUNC);
    CHECK(memcmp(buffer, "12", 2) == 0 && memcmp(buffer + 5, "34", 2) == 0);
    CHECK_EQ(weft_recvfrom(server, buffer, 1, MSG_TRUNC, NULL, NULL), 8);
    shut(client);
    shut(server);
}

TEST_BOTH(UDPMessages)
{
    char text[WEFT_ADDRESS], buffer[20] = "";
    int server = listen_own("udp4", text), client = listen_own("udp4", text);
    struct sockaddr_storage to, from = {0};
    struct iovec out[] = {{"gather", 6}, {"", 0}, {"ed", 2}}, in[] = {{buffer, 3}, {buffer + 3, 17}};
    struct msghdr sent = {.msg_name = &to, .msg_namelen = address_of(server, &to), .msg_iov = out, .msg_iovlen = 3};
    struct msghdr got = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = in, .msg_iovlen = 2};
    CHECK_EQ(weft_sendmsg(client, &sent, 0), 8);
    CHECK_EQ(weft_recvmsg(server, &got, 0), 8);
    CHECK(strcmp(buffer, "gathered") == 0);
    check_same(&from, got.msg_namelen, client);
    shut(client);
    shut(server);
}

TEST_BOTH(UDPTooLong)
{
    static char much[70000];
    char text[WEFT_ADDRESS];
    int server = listen_own("udp4", text), client = good(weft_dial("udp4", text));
    CHECK_EQ(weft_write(client, much, sizeof much), -EMSGSIZE);
    CHECK_EQ(weft_write(client, much, 9000), 9000);
    CHECK_EQ(weft_read(server, much, sizeof much), 9000);
    shut(client);
    shut(server);
}

/* ---- a server, with waits ---- */

static void serve(int server, weft_waitgroup *wg)
{
    char buffer[2000];
    struct sockaddr_storage from;
    for (;;) {
        unsigned length = sizeof from;
        ssize_t n = weft_recvfrom(server, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);
        if (n < 0) {
            CHECK_EQ(n, -ETIMEDOUT);
            break;
        }
        n = weft_sendto(server, buffer, (size_t)n, 0, (struct sockaddr *)&from, length);
        CHECK(n >= 0);
    }
    weft_wg_done(wg);
}

static void ask(const char *network, const char *address, int times)
{
    uint64_t random = test_random();
    int fd = good(weft_dial(network, address));
    for (; times > 0; times--) {
        char out[1000], in[1000];
        size_t n = test_random_from(&random) % sizeof out;
        memset(out, times, n);
        CHECK_EQ(weft_write(fd, out, n), n);
        CHECK_EQ(weft_recvfrom(fd, in, sizeof in, 0, NULL, NULL), n); /* the loopback loses nothing while there is room */
        CHECK(memcmp(in, out, n) == 0);
    }
    shut(fd);
}

TEST_BOTH(UDPServer)
{
    for (int i = 0; i < n_networks(); i++) {
        char address[WEFT_ADDRESS];
        int server = listen_own(networks[i], address);
        weft_waitgroup servers = {0}, askers = {0};
        weft_wg_add(&servers, 3); /* several read the same socket */
        for (int n = 0; n < 3; n++)
            weft_go(serve, server, &servers);
        for (int n = 0; n < 10; n++)
            weft_wg_go(&askers, ask, networks[i], address, test_scale(200));
        weft_wg_wait(&askers);
        CHECK_EQ(weft_fd_set_deadline(server, POLLIN, weft_now()), 0);
        weft_wg_wait(&servers);
        shut(server);
    }
}

static void close_later(int fd)
{
    CHECK_EQ(weft_sleep(WEFT_MS), 0);
    shut(fd);
}

TEST_BOTH(CloseUnblocksReadUDP)
{
    for (int times = test_scale(50); times > 0; times--) {
        char address[WEFT_ADDRESS], byte;
        int fd = lift(listen_own("udp4", address));
        weft_waitgroup wg = {0};
        weft_wg_go(&wg, close_later, fd);
        CHECK_EQ(weft_recvfrom(fd, &byte, 1, 0, NULL, NULL), -EBADF);
        weft_wg_wait(&wg);
    }
}

TEST_MAIN()
