/* epoll: the echo server to beat: one thread, level-triggered epoll, 512 events at a look, one recv and one send for a
   message. What a client does not take is kept, and nothing is read from it until it is gone. */
#define _GNU_SOURCE 1
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, SIZE = 1024 };

struct connection {
    int fd;
    unsigned at, end; /* what is kept */
    char kept[SIZE];
};

static int poll_fd;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void end(struct connection *c)
{
    close(c->fd); /* which takes it off epoll */
    free(c);
}

static void watch(struct connection *c, int how, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poll_fd, how, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void accept_all(int listener)
{
    for (;;) {
        int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *c = malloc(sizeof *c);
        if (!c)
            die("malloc");
        c->fd = fd;
        c->at = c->end = 0;
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void flush(struct connection *c)
{
    ssize_t n = send(c->fd, c->kept + c->at, c->end - c->at, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        end(c);
        return;
    }
    if (n > 0)
        c->at += (unsigned)n;
    if (c->at == c->end)
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

static inline void echo(struct connection *c)
{
    char buffer[SIZE];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            end(c);
        return;
    }
    ssize_t sent = send(c->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (sent == n)
        return;
    if (sent < 0 && errno != EAGAIN) {
        end(c);
        return;
    }
    c->at = sent > 0 ? (unsigned)sent : 0;
    c->end = (unsigned)n;
    memcpy(c->kept, buffer, (size_t)n);
    watch(c, EPOLL_CTL_MOD, EPOLLOUT);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct rlimit limit;
    if (argc > 2) {
        fprintf(stderr, "usage: %s [PORT]\n", argv[0]);
        return 2;
    }
    address.sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 0);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        die("listen");
    printf("epoll: listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);

    struct epoll_event events[EVENTS], of_listener = {.events = EPOLLIN, .data.ptr = NULL};
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &of_listener) != 0)
        die("epoll");
    for (;;) {
        int n = epoll_wait(poll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c)
                accept_all(listener);
            else if (events[i].events & EPOLLOUT)
                flush(c);
            else
                echo(c);
        }
    }
}
