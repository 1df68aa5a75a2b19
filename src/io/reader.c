/* reader.c — lines from a descriptor. */
#include "weft/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct weft_reader {
    int fd;
    size_t capacity;
    size_t begin, end; /* what is buffered; begin <= end <= capacity */
    char buffer[];
};

weft_reader *weft_reader_make(int fd, size_t capacity)
{
    capacity = capacity ? capacity : 1;
    if (capacity > SIZE_MAX / 2)
        return NULL;
    struct weft_reader *r = malloc(sizeof *r + capacity);
    if (r)
        *r = (struct weft_reader){.fd = fd, .capacity = capacity};
    return r;
}

/* Reads more behind what is buffered: the number of bytes, 0 at the end, or a negative errno. There is room. */
static ssize_t fill(weft_reader *r)
{
    ssize_t n = weft_read(r->fd, r->buffer + r->end, r->capacity - r->end);
    if (n > 0)
        r->end += (size_t)n;
    return n;
}

ssize_t weft_reader_line(weft_reader *r, char **line)
{
    size_t searched = 0;
    if (r->begin == r->end)
        r->begin = r->end = 0;
    for (;;) {
        char *from = r->buffer + r->begin;
        char *newline = memchr(from + searched, '\n', r->end - r->begin - searched);
        searched = r->end - r->begin;
        ssize_t n = -1;
        if (!newline) {
            if (r->begin > 0 && r->end == r->capacity) {
                memmove(r->buffer, from, searched);
                r->begin = 0;
                r->end = searched;
            }
            if (searched == r->capacity)
                return -EMSGSIZE;
            n = fill(r);
            if (n < 0)
                return n;
        }
        if (!newline && n > 0)
            continue;
        size_t length = newline ? (size_t)(newline - from) + 1 : searched;
        *line = r->buffer + r->begin;
        r->begin += length;
        return (ssize_t)length;
    }
}

ssize_t weft_reader_read(weft_reader *r, void *buffer, size_t size)
{
    size_t buffered = r->end - r->begin;
    if (buffered == 0)
        return weft_read(r->fd, buffer, size);
    size_t n = size < buffered ? size : buffered;
    memcpy(buffer, r->buffer + r->begin, n);
    r->begin += n;
    if (r->begin == r->end)
        r->begin = r->end = 0;
    return (ssize_t)n;
}

void weft_reader_free(weft_reader *r)
{
    free(r);
}
