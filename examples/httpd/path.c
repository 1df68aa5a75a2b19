/* From the target of a request to a descriptor beneath the root.

   What keeps a request beneath the root, each enough alone against "..":
   - path_parse refuses "." and ".." among the names, after decoding, and decoded slashes; so a target means the same to
     httpd as to whatever stands in front of it.
   - path_open has the kernel resolve the path with RESOLVE_BENEATH, which also refuses symbolic links that lead out.
     Where the kernel cannot (before Linux 5.6, or forbidden), and with --no-symlinks, it goes name by name and follows
     no link at all.
   Names that begin with a dot are not served, but for ".well-known": what lies in .git or .env is seldom meant to be. */
#define _GNU_SOURCE 1 /* O_PATH */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path and query of a target, which may be in absolute form, "http://authority/path". Length 0: it is in neither. */
static struct span without_authority(struct span target)
{
    static const struct span none = {"", 0}, root = {"/", 1};
    size_t scheme = 0;
    if (target.length > 0 && target.at[0] == '/')
        return target;
    if (target.length > 7 && strncasecmp(target.at, "http://", 7) == 0)
        scheme = 7;
    else if (target.length > 8 && strncasecmp(target.at, "https://", 8) == 0)
        scheme = 8;
    else
        return none;
    struct span authority = {target.at + scheme, target.length - scheme};
    const char *slash = memchr(authority.at, '/', authority.length);
    if (slash != NULL)
        authority.length = (size_t)(slash - authority.at);
    if (authority.length == 0 || !span_is_host(authority))
        return none;
    return slash != NULL ? (struct span){slash, target.length - scheme - authority.length} : root;
}

/* 0, or the status for a name that is not served. */
static int check_name(const char *name, size_t length)
{
    if (length == 0)
        return 404; /* "//" */
    if (name[0] != '.')
        return 0;
    if (length == 1 || (length == 2 && name[1] == '.'))
        return 400;
    return length == 11 && memcmp(name, ".well-known", 11) == 0 ? 0 : 404;
}

int path_parse(struct span text, char path[PATH], struct target *target)
{
    text = without_authority(text);
    if (text.length == 0 || memchr(text.at, '#', text.length) != NULL) /* a fragment is not to be sent */
        return 400;
    const char *mark = memchr(text.at, '?', text.length);
    size_t length = mark != NULL ? (size_t)(mark - text.at) : text.length;
    target->given = (struct span){text.at, length};
    target->query = mark != NULL ? (struct span){mark + 1, text.length - length - 1} : (struct span){text.at + length, 0};
    if (length >= PATH)
        return 414;

    size_t to = 0, name = 0;
    for (size_t i = 1; i < length; i++) { /* without the first slash */
        char c = text.at[i];
        if (c == '/') {
            int status = check_name(path + name, to - name);
            if (status != 0)
                return status;
            name = to + 1;
        } else if (c == '%') {
            int high = i + 2 < length ? hex_digit(text.at[i + 1]) : -1, low = high >= 0 ? hex_digit(text.at[i + 2]) : -1;
            if (low < 0)
                return 400;
            c = (char)(high << 4 | low);
            if (c == '\0')
                return 400;
            if (c == '/')
                return 404;
            i += 2;
        }
        path[to++] = c;
    }
    path[to] = '\0';
    return to > name ? check_name(path + name, to - name) : 0;
}

/* ---- opening ---- */

/* O_NONBLOCK: opening a FIFO must not wait. */
enum { FLAGS = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

static int beneath(int root, const char *path, uint64_t resolve)
{
    struct open_how how = {.flags = FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | resolve};
    long fd = syscall(SYS_openat2, root, path, &how, sizeof how);
    return fd >= 0 ? (int)fd : -weft_errno();
}

/* The same without openat2 and without symbolic links: each name relative to the directory before it. */
static int name_by_name(int root, char *path)
{
    int directory = root, fd;
    for (char *name = path, *slash;; name = slash + 1) {
        slash = strchr(name, '/');
        bool last = slash == NULL || slash[1] == '\0';
        if (slash != NULL)
            *slash = '\0';
        int flags = last ? FLAGS | (slash != NULL ? O_DIRECTORY : 0) : O_PATH | O_CLOEXEC | O_DIRECTORY;
        fd = openat(directory, *name != '\0' ? name : ".", flags | O_NOFOLLOW);
        if (fd < 0)
            fd = -weft_errno();
        if (slash != NULL)
            *slash = '/';
        if (directory != root)
            close(directory);
        if (fd < 0 || last)
            return fd;
        directory = fd;
    }
}

int path_open(const struct server *server, const char *path)
{
    if (*path == '\0')
        path = ".";
    if (server->options.symlinks) {
        /* What the kernel has in memory is opened at once; only what it has to read from a disk is worth a thread. */
        int fd = beneath(server->root, path, RESOLVE_CACHED);
        if (fd == -EAGAIN || fd == -EINVAL) /* EINVAL: a kernel that does not know RESOLVE_CACHED */
            fd = weft_blocking(beneath, server->root, path, 0);
        if (fd != -ENOSYS && fd != -EPERM)
            return fd;
    }
    char copy[PATH];
    strcpy(copy, path);
    return weft_blocking(name_by_name, server->root, (char *)copy);
}
