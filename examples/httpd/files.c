/* Files: conditions, ranges, sending (RFC 9110, sections 13 and 14). */
#include "httpd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct file {
    int fd;
    mode_t mode;
    int64_t size;
    time_t modified;
    char tag[48]; /* changes with the content: the time in nanoseconds, and the size */
};

/* ---- conditions ---- */

/* Is the file's tag in a list of tags? weak: a tag that is marked as weak counts too. */
static bool tag_in(struct span list, const char *tag, bool weak)
{
    size_t length = strlen(tag);
    const char *p = list.at, *end = p + list.length;
    if (span_is(list, "*"))
        return true;
    while (p < end) {
        bool is_weak = end - p >= 2 && p[0] == 'W' && p[1] == '/';
        p += is_weak ? 2 : 0;
        if ((size_t)(end - p) >= length && memcmp(p, tag, length) == 0 && (weak || !is_weak))
            return true;
        if (p < end && *p == '"') { /* over this one */
            p = memchr(p + 1, '"', (size_t)(end - p - 1));
            if (p == NULL)
                return false;
        }
        p++;
        while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
            p++;
    }
    return false;
}

static bool modified_since(const struct file *f, struct span date)
{
    time_t when = date_parse(date);
    return when < 0 || f->modified > when;
}

/* 200, or the status that the conditions ask for instead. */
static int check_conditions(const struct connection *c, const struct file *f)
{
    if (request_has(c, IF_MATCH)) {
        if (!tag_in(request_field(c, IF_MATCH), f->tag, false))
            return 412;
    } else if (request_has(c, IF_UNMODIFIED_SINCE)) {
        time_t when = date_parse(request_field(c, IF_UNMODIFIED_SINCE));
        if (when >= 0 && f->modified > when)
            return 412;
    }
    if (request_has(c, IF_NONE_MATCH))
        return tag_in(request_field(c, IF_NONE_MATCH), f->tag, true) ? 304 : 200;
    if (request_has(c, IF_MODIFIED_SINCE) && !modified_since(f, request_field(c, IF_MODIFIED_SINCE)))
        return 304;
    return 200;
}

/* ---- ranges ---- */

/* A number's digits at *p; -1: there are none, or too many. */
static int64_t digits(const char **p, const char *end)
{
    int64_t n = 0;
    const char *first = *p;
    for (; *p < end && **p >= '0' && **p <= '9'; (*p)++) {
        if (n > INT64_MAX / 10 - 1)
            return -1;
        n = 10 * n + (**p - '0');
    }
    return *p > first ? n : -1;
}

/* 206 with the bounds of the one range that is asked for; 416: it lies outside; 200: none is asked for that httpd knows
   (a list of ranges is answered with all of the file, as the RFC permits). */
static int parse_range(const struct connection *c, const struct file *f, int64_t *first, int64_t *length)
{
    struct span range = request_field(c, RANGE);
    if (c->b->parser.method != HTTP_GET || range.length < 7 || strncmp(range.at, "bytes=", 6) != 0)
        return 200;
    if (request_has(c, IF_RANGE)) {
        struct span given = request_field(c, IF_RANGE);
        bool same = given.length > 0 && given.at[0] == '"' ? tag_in(given, f->tag, false) : date_parse(given) == f->modified;
        if (!same)
            return 200;
    }
    const char *p = range.at + 6, *end = range.at + range.length;
    if (*p == '-') { /* the last n bytes */
        p++;
        int64_t n = digits(&p, end);
        if (n < 0 || p != end)
            return 200;
        if (n == 0 || f->size == 0)
            return 416;
        *length = n < f->size ? n : f->size;
        *first = f->size - *length;
        return 206;
    }
    int64_t from = digits(&p, end), to = INT64_MAX - 1;
    if (from < 0 || p == end || *p++ != '-')
        return 200;
    if (p < end) {
        to = digits(&p, end);
        if (to < from || p != end)
            return 200;
    }
    if (from >= f->size)
        return 416;
    *first = from;
    *length = (to < f->size ? to + 1 : f->size) - from;
    return 206;
}

/* ---- answers ---- */

static void put_validators(struct connection *c, const struct file *f)
{
    char date[DATE + 1];
    date_write(date, f->modified);
    date[DATE] = '\0';
    response_field(c, "Last-Modified", date);
    response_field(c, "ETag", f->tag);
}

static void send_file(struct connection *c, const struct file *f, const char *path)
{
    int64_t first = 0, length = f->size;
    int status = check_conditions(c, f);
    if (status == 412) {
        response_status(c, 412);
        return;
    }
    if (status == 304) {
        response_begin(c, 304, NULL, NO_BODY);
        put_validators(c, f);
        response_end_head(c);
        return;
    }
    char range[80];
    status = parse_range(c, f, &first, &length);
    if (status == 416) {
        snprintf(range, sizeof range, "bytes */%lld", (long long)f->size);
        response_begin(c, 416, NULL, 0);
        response_field(c, "Content-Range", range);
        response_end_head(c);
        return;
    }
    response_begin(c, status, type_of(path), length);
    put_validators(c, f);
    response_field(c, "Accept-Ranges", "bytes");
    response_field(c, "X-Content-Type-Options", "nosniff");
    if (status == 206) {
        snprintf(range, sizeof range, "bytes %lld-%lld/%lld", (long long)first, (long long)(first + length - 1),
                 (long long)f->size);
        response_field(c, "Content-Range", range);
    }
    response_end_head(c);
    if (!response_is_head_only(c))
        connection_send_file(c, f->fd, first, length);
}

/* A directory is asked for without the slash at its end: relative links in its index would lead elsewhere. What was
   given is sent back as it came; it does not begin with "//", which would name another server (path_parse). */
static void redirect(struct connection *c, const struct target *target)
{
    response_begin(c, 301, NULL, 0);
    response_put(c, (struct span){"Location: ", 10});
    response_put(c, target->given);
    response_put(c, (struct span){"/", 1});
    if (target->query.length > 0) {
        response_put(c, (struct span){"?", 1});
        response_put(c, target->query);
    }
    response_put(c, (struct span){"\r\n", 2});
    response_end_head(c);
}

static int status_of(int error)
{
    switch (-error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP: /* --no-symlinks */
    case EXDEV: /* not beneath the root */
    case ENXIO: /* a socket */
        return 404;
    case EACCES:
    case EPERM:
        return 403;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN: /* beneath the root or not: directories are being renamed */
        return 503;
    default:
        return 500;
    }
}

/* Opens a path and sees what it is: 0, or a negative errno. */
static int look(const struct server *server, const char *path, struct file *f)
{
    struct stat s;
    f->fd = path_open(server, path);
    if (f->fd < 0)
        return f->fd;
    if (fstat(f->fd, &s) != 0) {
        int error = -weft_errno();
        weft_close_fd(f->fd);
        return error;
    }
    f->mode = s.st_mode;
    f->size = s.st_size;
    f->modified = s.st_mtim.tv_sec;
    snprintf(f->tag, sizeof f->tag, "\"%llx-%llx\"",
             (unsigned long long)s.st_mtim.tv_sec * 1000000000u + (unsigned long)s.st_mtim.tv_nsec,
             (unsigned long long)s.st_size);
    return 0;
}

void files_answer(struct connection *c, char *path, const struct target *target)
{
    static const char index[] = "index.html";
    struct file f = {.fd = -1};
    if (c->server->root < 0) {
        response_status(c, 404);
        return;
    }
    if (c->b->parser.method != HTTP_GET && c->b->parser.method != HTTP_HEAD) {
        response_not_allowed(c, "GET, HEAD, OPTIONS");
        return;
    }
    size_t length = strlen(path);
    bool directory = length == 0 || path[length - 1] == '/';
    if (directory) {
        if (length + sizeof index > PATH) {
            response_status(c, 414);
            return;
        }
        memcpy(path + length, index, sizeof index);
    }
    int error = look(c->server, path, &f);
    if (error != 0) {
        response_status(c, status_of(error));
        return;
    }
    if (S_ISREG(f.mode))
        send_file(c, &f, path);
    else if (S_ISDIR(f.mode) && !directory)
        redirect(c, target);
    else
        response_status(c, 404);
    weft_close_fd(f.fd);
}
