/* A library that is loaded by dlopen is hooked as well: what waits in it has no thread. */
#define _GNU_SOURCE 1
#include "hook.h"
#include <dlfcn.h>
#include <libgen.h>
#include <sys/socket.h>

static int (*library_exchange)(int fd, size_t size);

static void exchange(int fd, _Atomic int *begun, weft_waitgroup *wg)
{
    (*begun)++;
    CHECK_EQ(library_exchange(fd, 5 + (size_t)weft_id() % 8), 0);
    weft_wg_done(wg);
}

TEST(a_library_that_was_loaded_later)
{
    enum { N = 200 };
    static int fds[N][2];
    _Atomic int begun = 0;
    weft_waitgroup wg = {0};
    int before = threads_now();
    weft_wg_add(&wg, N);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
        weft_go(exchange, fds[i][0], &begun, &wg);
    }
    while (begun < N)
        weft_yield();
    weft_sleep(100 * WEFT_MS);
    int then = threads_now();
    printf("%d threads with %d goroutines that wait, %d before\n", then, N, before);
    CHECK(then < before + 40);
    for (int i = 0; i < N; i++) {
        char x = 0;
        CHECK_EQ(weft_write_all(fds[i][1], "a", 1), 1);
        CHECK_EQ(weft_read(fds[i][1], &x, 1), 1);
        CHECK_EQ(x, 'a');
        CHECK_EQ(weft_write_all(fds[i][1], "b", 1), 1);
        CHECK_EQ(weft_read(fds[i][1], &x, 1), 1);
        CHECK_EQ(x, 'b');
        CHECK_EQ(weft_shutdown_fd(fds[i][1], SHUT_WR), 0);
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < N; i++) {
        CHECK_EQ(close(fds[i][0]), 0);
        CHECK_EQ(close(fds[i][1]), 0);
    }
}

int main(int argc, char **argv)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    CHECK(n > 0);
    path[n] = '\0';
    strcat(dirname(path), "/plugin_lib.so");
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        fprintf(stderr, "%s\n", dlerror());
    CHECK(library != NULL);
    *(void **)&library_exchange = dlsym(library, "library_exchange");
    CHECK(library_exchange != NULL);
    return test_main_(argc, argv);
}
