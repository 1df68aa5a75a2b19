/* A library that knows nothing of weft, loaded when the program runs already, and compiled to call the checked names of
   libc's functions. */
#undef _FORTIFY_SOURCE
#define _FORTIFY_SOURCE 2
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

/* Waits for size bytes from fd by how many ways there are; 0, or what is wrong. */
int library_exchange(int fd, size_t size);
int library_exchange(int fd, size_t size)
{
    char buffer[16];
    struct pollfd set[2] = {{.fd = fd, .events = POLLIN}, {.fd = -1}};
    pthread_t self = pthread_self();
    errno = 0;
    if (poll(set, size > 4 ? 1 : 2, -1) != 1 || errno != 0)
        return 1;
    if (recv(fd, buffer, size, 0) != 1 || errno != 0)
        return 2;
    if (write(fd, buffer, 1) != 1 || errno != 0)
        return 3;
    if (read(fd, buffer, size) != 1 || errno != 0)
        return 4;
    if (send(fd, buffer, 1, MSG_NOSIGNAL) != 1 || errno != 0)
        return 5;
    if (recvfrom(fd, buffer, size, 0, NULL, NULL) != 0 || errno != 0)
        return 6;
    return pthread_equal(self, pthread_self()) ? 0 : 7;
}
