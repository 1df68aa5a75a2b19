#define _GNU_SOURCE 1
#include "io/file.h"
#include "weft/file.h"
#include "arch/context.h"
#include <errno.h>
__attribute__((weak)) ssize_t wi_file_transfer(int fd, bool w, const struct iovec *v, int n, int64_t off)
{
    ssize_t r = w ? pwritev2(fd, v, n, off, 0) : preadv2(fd, v, n, off, 0);
    return r < 0 ? -errno : r;
}
__attribute__((weak)) uintptr_t weft_blocking_(void *u, const weft_site *site, weft_fn_ fn, const uintptr_t *w)
{
    (void)u, (void)site;
    return wi_invoke(fn, w);
}
