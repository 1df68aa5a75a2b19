/* The list of what was found: sorting it, and printing it in sha256sum's format. Plain C. */
#include "digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void out_of_memory(void)
{
    fputs("digest: out of memory\n", stderr);
    exit(1);
}

void list_add(struct list *list, struct entry *entry)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 1024 : 2 * list->capacity;
        list->items = realloc(list->items, list->capacity * sizeof *list->items);
        if (list->items == NULL)
            out_of_memory();
    }
    list->items[list->count++] = entry;
}

static int by_path(const void *a, const void *b)
{
    return strcmp((*(struct entry *const *)a)->path, (*(struct entry *const *)b)->path);
}

void list_sort(struct list *list)
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof *list->items, by_path);
}

size_t list_done(const struct list *list)
{
    size_t done = 0;
    for (size_t i = 0; i < list->count; i++)
        done += list->items[i]->error == 0;
    return done;
}

void list_free(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        entry_free(list->items[i]);
    free(list->items);
}

/* A path may hold any byte but 0. What would break a line is written as \n, \r and \\. */
static void print_path(FILE *out, const char *path)
{
    for (const char *c = path; *c != '\0'; c++) {
        if (*c == '\n')
            fputs("\\n", out);
        else if (*c == '\r')
            fputs("\\r", out);
        else if (*c == '\\')
            fputs("\\\\", out);
        else
            putc_unlocked(*c, out);
    }
}

static void print_digest(const struct entry *entry)
{
    static const char digits[] = "0123456789abcdef";
    bool escaped = strpbrk(entry->path, "\n\r\\") != NULL;
    if (escaped)
        putc_unlocked('\\', stdout); /* a line that starts so has escapes in its path */
    for (int i = 0; i < DIGEST_BYTES; i++) {
        putc_unlocked(digits[entry->sum[i] >> 4], stdout);
        putc_unlocked(digits[entry->sum[i] & 15], stdout);
    }
    fputs("  ", stdout);
    if (escaped)
        print_path(stdout, entry->path);
    else
        fputs(entry->path, stdout);
    putc_unlocked('\n', stdout);
}

int print_digests(const struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i]->error == 0)
            print_digest(list->items[i]);
    if (ferror(stdout) || fflush(stdout) != 0)
        return errno != 0 ? -errno : -EIO;
    return 0;
}

void print_error(const struct entry *entry)
{
    fputs("digest: ", stderr);
    print_path(stderr, entry->path);
    fprintf(stderr, ": %s\n", strerror(-entry->error));
}

int print_errors(const struct list *list)
{
    int count = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i]->error != 0) {
            print_error(list->items[i]);
            count++;
        }
    }
    return count;
}
