/* echo: a server that sends back what it is sent.

     echo [--listen ADDRESS]         then, for example: nc 127.0.0.1 7000

   A goroutine for every connection, and in it the loop that one would write for a single one. While nothing comes, weft_read
   blocks this goroutine only, which then costs a page of memory and no thread. That is also why the buffer is small: it lies
   on the goroutine's stack, and this way one page is enough. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft.h>

static void serve(int connection)
{
    char buffer[1024];
    ssize_t n;
    while ((n = weft_read(connection, buffer, sizeof buffer)) > 0)
        if (weft_write_all(connection, buffer, (size_t)n) < 0)
            break; /* the client has gone */
    weft_close_fd(connection);
}

static int run(const char *address)
{
    char text[WEFT_ADDRESS];
    int listener = weft_listen("tcp", address);
    if (listener < 0 || weft_local_address(listener, text, sizeof text) < 0) {
        fprintf(stderr, "echo: %s: %s\n", address, listener < 0 ? strerror(-listener) : "no address");
        return 1;
    }
    printf("echo: listening on %s\n", text);
    fflush(stdout);
    for (;;) {
        int connection = weft_accept(listener);
        if (connection >= 0) {
            weft_go(serve, connection);
        } else if (connection == -EMFILE || connection == -ENFILE || connection == -ENOBUFS || connection == -ENOMEM) {
            weft_sleep(10 * WEFT_MS); /* too many at once: the client waits until there is room */
        } else {
            fprintf(stderr, "echo: %s\n", strerror(-connection));
            return 1;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 1)
        return weft_run(run, "127.0.0.1:7000");
    if (argc == 3 && strcmp(argv[1], "--listen") == 0)
        return weft_run(run, argv[2]);
    fprintf(stderr,
            "usage: echo [--listen ADDRESS]     ADDRESS: host:port, :port for all interfaces, port 0 for any free one\n");
    return 2;
}
