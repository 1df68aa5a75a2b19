/* net_unix.c — Unix sockets: what Go's net tests check of them (unixsock_test.go, unixsock_linux_test.go). Streams as
   such are in net_conn.c. */
#include "sockets.h"

#include <sys/stat.h>
#include <sys/uio.h>

static char directory[64], path[96], path2[96];

static void make_paths(void)
{
    strcpy(directory, "/tmp/weft-test-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/one", directory);
    snprintf(path2, sizeof path2, "%s/two", directory);
}

static void remove_paths(void)
{
    unlink(path);
    unlink(path2);
    CHECK_EQ(rmdir(directory), 0);
}

TEST_BOTH(UnixUnlink)
{
    struct stat st;
    make_paths();
    int listener = good(weft_listen("unix", path));
    CHECK_EQ(weft_listen("unix", path), -EADDRINUSE);
    CHECK_EQ(weft_listen("unixgram", path), -EADDRINUSE);
    shut(listener);
    CHECK_EQ(stat(path, &st), 0); /* the name remains, as with bind(2) */
    CHECK(S_ISSOCK(st.st_mode));
    CHECK_EQ(weft_dial("unix", path), -ECONNREFUSED);
    CHECK_EQ(weft_listen("unix", path), -EADDRINUSE);
    CHECK_EQ(unlink(path), 0);
    listener = good(weft_listen("unix", path));
    int fd = good(weft_dial("unix", path));
    CHECK_EQ(unlink(path), 0); /* who is connected stays so */
    CHECK_EQ(weft_dial("unix", path), -ENOENT);
    int other = good(weft_accept(listener));
    CHECK_EQ(weft_write(fd, "x", 1), 1);
    char byte;
    CHECK_EQ(weft_read(other, &byte, 1), 1);
    shut(other);
    shut(fd);
    shut(listener);
    CHECK_EQ(weft_listen("unix", "/no/such/directory/here"), -ENOENT);
    remove_paths();
}

TEST_BOTH(UnixConnLocalAndRemoteNames)
{
    static const char *const kinds[] = {"path", "abstract", "own"};
    for (int i = 0; i < 3; i++) {
        char address[WEFT_ADDRESS], text[WEFT_ADDRESS], asked[WEFT_ADDRESS];
        make_paths();
        snprintf(asked, sizeof asked, i == 0 ? "%s" : i == 1 ? "@%s" : "@", path);
        int listener = listen_at("unix", asked, address);
        if (i < 2)
            CHECK(strcmp(address, asked) == 0);
        else
            CHECK(address[0] == '@' && address[1] != '\0'); /* the kernel's choice */
        CHECK_EQ(weft_peer_address(listener, text, sizeof text), -ENOTCONN);
        int fd = good(weft_dial("unix", address)), other = good(weft_accept(listener));
        CHECK_EQ(weft_local_address(fd, text, sizeof text), 0); /* it has none */
        CHECK(text[0] == '\0');
        CHECK_EQ(weft_peer_address(other, text, sizeof text), 0);
        CHECK_EQ(weft_peer_address(fd, text, sizeof text), strlen(address));
        CHECK(strcmp(text, address) == 0);
        CHECK_EQ(weft_local_address(other, text, sizeof text), strlen(address));
        CHECK(strcmp(text, address) == 0);
        struct sockaddr_un from;
        unsigned length = sizeof from;
        shut(fd);
        fd = good(weft_dial("unix", address));
        shut(other);
        other = good(weft_accept_from(listener, (struct sockaddr *)&from, &length));
        CHECK_EQ(length, sizeof from.sun_family);
        CHECK_EQ(from.sun_family, AF_UNIX);
        shut(other);
        shut(fd);
        shut(listener);
        remove_paths();
        printf("%s ", kinds[i]);
    }
    printf("\n");
}

/* A path that looks like an abstract name gets a text that does not. */
TEST_BOTH(PathThatBeginsWithAt)
{
    char before[4096], text[WEFT_ADDRESS];
    make_paths();
    CHECK(getcwd(before, sizeof before) != NULL);
    CHECK_EQ(chdir(directory), 0);
    struct sockaddr_un own = {.sun_family = AF_UNIX, .sun_path = "@name"};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(bind(listener, (struct sockaddr *)&own, sizeof own), 0);
    CHECK_EQ(listen(listener, 1), 0);
    CHECK_EQ(weft_local_address(listener, text, sizeof text), 7);
    CHECK(strcmp(text, "./@name") == 0);
    CHECK_EQ(weft_dial("unix", "@name"), -ECONNREFUSED);
    shut(good(weft_dial("unix", text)));
    shut(listener);
    CHECK_EQ(unlink("@name"), 0);
    CHECK_EQ(chdir(before), 0);
    remove_paths();
}

TEST_BOTH(UnixgramLinuxAbstractLongName)
{
    char name[WEFT_ADDRESS] = "@", text[WEFT_ADDRESS], byte;
    memset(name + 1, 'n', 107); /* all of sun_path */
    int server = listen_at("unixgram", name, text);
    CHECK(strcmp(text, name) == 0);
    int client = good(weft_dial("unixgram", name));
    CHECK_EQ(weft_write(client, "x", 1), 1);
    CHECK_EQ(weft_read(server, &byte, 1), 1);
    shut(client);
    shut(server);
    /* the longest path: a byte less, for the zero */
    make_paths();
    int length = snprintf(name, sizeof name, "%s/", directory);
    memset(name + length, 'p', (size_t)(107 - length));
    name[107] = '\0';
    server = listen_at("unixgram", name, text);
    CHECK(strcmp(text, name) == 0);
    client = good(weft_dial("unixgram", name));
    shut(client);
    shut(server);
    CHECK_EQ(unlink(name), 0);
    remove_paths();
}

/* ---- datagrams ---- */

/* A socket without a name sends; who receives is told that there is no name. */
TEST_BOTH(ReadUnixgramWithUnnamedSocket)
{
    char address[WEFT_ADDRESS], buffer[10];
    int server = listen_own("unixgram", address), client = good(weft_dial("unixgram", address));
    struct sockaddr_un from;
    unsigned length = sizeof from;
    CHECK_EQ(weft_write(client, "12345", 5), 5);
    memset(&from, 0x55, sizeof from);
    CHECK_EQ(weft_recvfrom(server, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length), 5);
    CHECK(length == 0 || length == sizeof from.sun_family);
    CHECK(memcmp(buffer, "12345", 5) == 0);
    shut(client);
    shut(server);
}

TEST_BOTH(UnixgramZeroBytePayload)
{
    char address[WEFT_ADDRESS], byte = 'y';
    int server = listen_own("unixgram", address), client = good(weft_dial("unixgram", address));
    CHECK_EQ(weft_write(client, "", 0), 0);
    CHECK_EQ(weft_write(client, "z", 1), 1);
    CHECK_EQ(weft_recvfrom(server, &byte, 1, 0, NULL, NULL), 0);
    CHECK_EQ(byte, 'y');
    CHECK_EQ(weft_read(server, &byte, 1), 1);
    shut(client);
    shut(server);
}

TEST_BOTH(UnixgramZeroByteBuffer)
{
    char address[WEFT_ADDRESS], buffer[10];
    int server = listen_own("unixgram", address), client = good(weft_dial("unixgram", address));
    CHECK_EQ(weft_write(client, "first", 5), 5);
    CHECK_EQ(weft_write(client, "second", 6), 6);
    CHECK_EQ(weft_recvfrom(server, buffer, 0, 0, NULL, NULL), 0);
    CHECK_EQ(weft_recvfrom(server, buffer, sizeof buffer, 0, NULL, NULL), 6);
    shut(client);
    shut(server);
}

/* Connected and not, by path and by abstract name. */
TEST_BOTH(UnixgramWrite)
{
    for (int abstract = 0; abstract < 2; abstract++) {
        char text[WEFT_ADDRESS], name[WEFT_ADDRESS], buffer[10];
        make_paths();
        snprintf(name, sizeof name, "%s%s", abstract ? "@" : "", path);
        int server = good(weft_listen("unixgram", name));
        snprintf(name, sizeof name, "%s%s", abstract ? "@" : "", path2);
        int other = listen_at("unixgram", name, text);
        struct sockaddr_storage to, from;
        socklen_t to_length = sizeof to, from_length = sizeof from;
        CHECK_EQ(getsockname(server, (struct sockaddr *)&to, &to_length), 0);
        CHECK_EQ(weft_write(other, "nowhere", 7), -ENOTCONN);
        CHECK_EQ(weft_sendto(other, "hello", 5, 0, (struct sockaddr *)&to, to_length), 5);
        CHECK_EQ(weft_recvfrom(server, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &from_length), 5);
        CHECK_EQ(weft_sendto(server, "you", 3, 0, (struct sockaddr *)&from, from_length), 3); /* the name is an address */
        CHECK_EQ(weft_read(other, buffer, sizeof buffer), 3);
        int client = good(weft_dial("unixgram", name));
        CHECK_EQ(weft_write(client, "too", 3), 3);
        CHECK_EQ(weft_read(other, buffer, sizeof buffer), 3);
        CHECK(memcmp(buffer, "too", 3) == 0);
        shut(other);
        CHECK_EQ(weft_write(client, "gone", 4), -ECONNREFUSED);
        shut(client);
        shut(server);
        remove_paths();
    }
}

enum { LATE_MS = 600 };

static void read_datagrams_late(int fd, int n)
{
    CHECK_EQ(weft_sleep(LATE_MS * WEFT_MS), 0);
    for (int i = 0; i < n; i++) {
        int value = -1;
        CHECK_EQ(weft_read(fd, &value, sizeof value), (int)sizeof value);
        CHECK_EQ(value, i);
    }
}

static void read_datagrams(int fd, int n)
{
    for (int i = 0; i < n; i++) {
        int value = -1;
        if (i % 16 == 0)
            CHECK_EQ(weft_sleep(WEFT_MS / 2), 0);
        CHECK_EQ(weft_read(fd, &value, sizeof value), sizeof value);
        CHECK_EQ(value, i);
    }
}

/* The queue of a datagram socket is short: who sends waits for the reader, and nothing is lost. */
TEST_BOTH(UnixgramWaitsForRoom)
{
    char address[WEFT_ADDRESS];
    int server = listen_own("unixgram", address), client = good(weft_dial("unixgram", address)), n = test_scale(500);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, read_datagrams, server, n);
    for (int i = 0; i < n; i++)
        CHECK_EQ(weft_write(client, &i, sizeof i), sizeof i);
    weft_wg_wait(&wg);
    shut(client);
    shut(server);
}

/* Not connected: the sender is not told when the receiver's queue gets room, yet does not burn its CPU. */
TEST_BOTH(UnixgramSendToFullQueue)
{
    enum { DATAGRAMS = 200 };
    char address[WEFT_ADDRESS], text[WEFT_ADDRESS];
    int server = listen_own("unixgram", address), sender = listen_at("unixgram", "@", text);
    struct sockaddr_storage to;
    socklen_t length = sizeof to;
    CHECK_EQ(getsockname(server, (struct sockaddr *)&to, &length), 0);
    struct timespec before, after;
    CHECK_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before), 0);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, read_datagrams_late, server, (int)DATAGRAMS);
    for (int i = 0; i < DATAGRAMS; i++)
        CHECK_EQ(weft_sendto(sender, &i, sizeof i, 0, (struct sockaddr *)&to, length), (int)sizeof i);
    weft_wg_wait(&wg);
    CHECK_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after), 0);
    CHECK((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000 < LATE_MS / 2);
    shut(sender);
    shut(server);
}

/* ---- descriptors as messages ---- */

static void send_fd(int through, int fd)
{
    char control[CMSG_SPACE(sizeof fd)] = "";
    struct iovec part = {"d", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    CHECK_EQ(weft_sendmsg(through, &message, 0), 1);
}

static int receive_fd(int through)
{
    char control[CMSG_SPACE(sizeof(int))], byte;
    int fd = -1;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    CHECK_EQ(weft_recvmsg(through, &message, MSG_CMSG_CLOEXEC), 1);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    CHECK(header && header->cmsg_type == SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return good(fd);
}

TEST_BOTH(DescriptorsAsMessages)
{
    int ends[2], passed[2];
    make_pair("unix", ends);
    for (int i = test_scale(50); i > 0; i--) {
        char byte;
        make_pair("tcp", passed);
        send_fd(ends[0], passed[0]);
        shut(passed[0]);
        int fd = receive_fd(ends[1]); /* mostly the number that was just closed */
        CHECK_EQ(weft_write(passed[1], "x", 1), 1);
        CHECK_EQ(weft_read(fd, &byte, 1), 1);
        shut(fd);
        CHECK_EQ(weft_read(passed[1], &byte, 1), 0);
        shut(passed[1]);
    }
    shut(ends[0]);
    shut(ends[1]);
}

/* A pair made by the kernel, blocking or not. */
TEST_BOTH(Socketpair)
{
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM | SOCK_NONBLOCK};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        int ends[2];
        char buffer[10];
        weft_waitgroup wg = {0};
        CHECK_EQ(socketpair(AF_UNIX, types[i], 0, ends), 0);
        if ((types[i] & ~SOCK_NONBLOCK) == SOCK_STREAM) {
            weft_wg_go(&wg, echo, ends[1]);
            CHECK_EQ(weft_write_all(ends[0], "hello", 5), 5);
            CHECK_EQ(weft_read_full(ends[0], buffer, 5), 5);
            shut(ends[0]);
            weft_wg_wait(&wg);
            continue;
        }
        CHECK_EQ(weft_write(ends[0], "ab", 2), 2);
        CHECK_EQ(weft_write(ends[0], "c", 1), 1);
        CHECK_EQ(weft_read(ends[1], buffer, sizeof buffer), 2);
        CHECK_EQ(weft_read(ends[1], buffer, sizeof buffer), 1);
        shut(ends[0]);
        shut(ends[1]);
    }
}

TEST_MAIN()
