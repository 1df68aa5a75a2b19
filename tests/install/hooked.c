/* Whether libc's blocking calls are libweft_hook's, for the program and for libraries that are loaded later, although the
   program itself calls only one of them. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <weft.h>

static int app(void)
{
    int pair[2];
    char x = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || weft_write_all(pair[1], "x", 1) != 1)
        return 1;
    return read(pair[0], &x, 1) == 1 && x == 'x' ? 0 : 1;
}

int main(void)
{
    static const char *const names[] = {"read",      "recv",        "connect", "poll",
                                        "nanosleep", "getaddrinfo", "close",   "__read_chk"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        Dl_info info;
        void *symbol = dlsym(RTLD_DEFAULT, names[i]);
        if (symbol == NULL || dladdr(symbol, &info) == 0 || strstr(info.dli_fname, "libc.so") != NULL) {
            fprintf(stderr, "%s is libc's\n", names[i]);
            return 1;
        }
    }
    return weft_run(app);
}
