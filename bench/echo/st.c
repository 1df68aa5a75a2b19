/* st: the echo server of examples/echo.c with the State Threads library. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <st.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void *serve(void *argument)
{
    st_netfd_t connection = argument;
    char buffer[1024];
    ssize_t n;
    while ((n = st_read(connection, buffer, sizeof buffer, ST_UTIME_NO_TIMEOUT)) > 0)
        if (st_write(connection, buffer, (size_t)n, ST_UTIME_NO_TIMEOUT) != n)
            break;
    st_netfd_close(connection);
    return NULL;
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    st_set_eventsys(ST_EVENTSYS_ALT); /* epoll */
    if (st_init() != 0)
        return 1;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0) {
        perror("st");
        return 1;
    }
    printf("st: listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    st_netfd_t socket = st_netfd_open_socket(listener);
    for (;;) {
        int one = 1;
        st_netfd_t connection = st_accept(socket, NULL, NULL, ST_UTIME_NO_TIMEOUT);
        if (!connection)
            continue;
        setsockopt(st_netfd_fileno(connection), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (!st_thread_create(serve, connection, 0, 64 * 1024))
            st_netfd_close(connection);
    }
}
