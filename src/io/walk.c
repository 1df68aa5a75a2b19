/* walk.c — the walk over a directory tree.

   An iterator and not a call back, so that its user may do as it likes between two entries. A directory is read whole and
   sorted when the walk goes into it, in one blocking call (blocking.c); what it had is then given one by one, without a
   system call.

     levels[0 .. depth - 1]   the directories that the walk is in, the root first
     path                     of the entry given last; levels[i].path_length of it are the path of level i

   Directories are opened relative to the one they are in: paths may be longer than PATH_MAX, and nobody leads the walk
   astray by putting a link in a directory's place. That takes the descriptor of every level, but a tree may be deeper than
   the limit of descriptors; so only the deepest WINDOW levels and the root keep theirs. When the walk comes back to a level
   without one, it is ".." of the level below; or, should that have been moved meanwhile, what is found along the names from
   the root. Device and inode number tell whether it is the right one. */
#define _GNU_SOURCE 1 /* O_PATH */
#include "sched/enter.h"
#include "weft/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WINDOW 32U
#define READ_BYTES ((size_t)32 << 10)
#define OPEN_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)

struct item {
    struct item *next; /* while the directory is read */
    int error;
    unsigned char type;
    char name[];
};

struct level {
    int fd; /* -1: closed for the time being */
    dev_t device;
    ino_t inode;
    size_t path_length; /* of its own path */
    struct item **items;
    size_t count, next;
};

struct weft_walk {
    struct level *levels;
    size_t depth, room;
    char *path;
    size_t path_length, path_room;
    bool begun;
    bool enter; /* the entry given last is a directory to go into */
};

/* What getdents64(2) fills in. */
struct record {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    unsigned char type;
    char name[];
};

/* ---- the path ---- */

static bool reserve_path(weft_walk *walk, size_t length)
{
    if (length < walk->path_room)
        return true;
    size_t room = length + length / 2 + 256;
    char *path = realloc(walk->path, room);
    if (!path)
        return false;
    walk->path = path;
    walk->path_room = room;
    return true;
}

/* The path of name in the directory whose path is the first `length` bytes; where name begins in it. The room is there. */
static size_t set_path(weft_walk *walk, size_t length, const char *name)
{
    if (walk->path[length - 1] != '/')
        walk->path[length++] = '/';
    size_t name_length = strlen(name);
    memcpy(walk->path + length, name, name_length + 1);
    walk->path_length = length + name_length;
    return length;
}

/* Where the last part begins; slashes at the end belong to it. */
static size_t last_part(const char *path, size_t length)
{
    size_t end = length;
    while (end > 1 && path[end - 1] == '/')
        end--;
    while (end > 0 && path[end - 1] != '/')
        end--;
    return end == length ? 0 : end;
}

/* ---- reading a directory; called off the worker ---- */

static int compare(const void *a, const void *b)
{
    return strcmp((*(struct item *const *)a)->name, (*(struct item *const *)b)->name);
}

static unsigned char type_of(mode_t mode)
{
    return (unsigned char)((mode & S_IFMT) >> 12); /* as the C library's IFTODT */
}

static struct item *make_item(int directory, const struct record *record)
{
    size_t size = strlen(record->name) + 1;
    struct item *item = malloc(sizeof *item + size);
    if (!item)
        return NULL;
    memcpy(item->name, record->name, size);
    item->type = record->type;
    item->error = 0;
    struct stat st;
    if (item->type == DT_UNKNOWN) { /* a file system that does not say */
        if (fstatat(directory, item->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            item->type = type_of(st.st_mode);
        else
            item->error = -errno;
    }
    return item;
}

/* Adds what the directory has to the list: 0 or a negative errno, and then it is not all. */
static int read_items(int directory, struct item **list, size_t *count)
{
    union {
        struct record first;
        char room[READ_BYTES];
    } *buffer = malloc(sizeof *buffer);
    if (!buffer)
        return -ENOMEM;
    long got;
    while ((got = syscall(SYS_getdents64, directory, buffer, sizeof *buffer)) > 0) {
        for (const char *at = buffer->room, *end = at + got; at < end;) {
            const struct record *record = (const struct record *)(const void *)at;
            at += record->size;
            if (strcmp(record->name, ".") == 0 || strcmp(record->name, "..") == 0)
                continue;
            struct item *item = make_item(directory, record);
            if (!item) {
                free(buffer);
                return -ENOMEM;
            }
            item->next = *list;
            *list = item;
            (*count)++;
        }
    }
    int error = got < 0 ? -errno : 0;
    free(buffer);
    return error;
}

static void free_level(struct level *level)
{
    for (size_t i = level->next; i < level->count; i++)
        free(level->items[i]);
    free(level->items);
    if (level->fd >= 0)
        close(level->fd);
}

/* Turns the list into the level's sorted items. */
static int take_items(struct level *level, struct item *list)
{
    level->items = malloc((level->count + 1) * sizeof *level->items);
    int error = level->items ? 0 : -ENOMEM;
    size_t i = 0;
    for (struct item *next; list; list = next) {
        next = list->next;
        if (error)
            free(list);
        else
            level->items[i++] = list;
    }
    if (error)
        level->count = 0;
    else
        qsort(level->items, level->count, sizeof *level->items, compare);
    return error;
}

/* Gives up a descriptor that can be had again: of the highest level under the root that has one. */
static bool close_one(weft_walk *walk)
{
    for (size_t i = 1; i + 1 < walk->depth; i++)
        if (walk->levels[i].fd >= 0) {
            close(walk->levels[i].fd);
            walk->levels[i].fd = -1;
            return true;
        }
    return false;
}

static int open_directory(weft_walk *walk, int at, const char *name)
{
    int fd;
    do
        fd = openat(at, name, OPEN_FLAGS);
    while (fd < 0 && (errno == EINTR || ((errno == EMFILE || errno == ENFILE) && close_one(walk))));
    return fd < 0 ? -errno : fd;
}

/* Goes into the directory that was given last. 0, or a negative errno: it cannot be read; the walk may be in it all the
   same, with what could be. noinline, as errno is read in what it calls. */
static __attribute__((noinline)) int descend(weft_walk *walk)
{
    bool root = walk->depth == 0;
    const struct level *parent = root ? NULL : &walk->levels[walk->depth - 1];
    if (parent && parent->fd < 0)
        return -ENOENT; /* it could not be found again */
    size_t name = root ? 0 : last_part(walk->path, walk->path_length);
    struct level level = {.path_length = walk->path_length};
    level.fd = open_directory(walk, parent ? parent->fd : AT_FDCWD, walk->path + name);
    if (level.fd < 0)
        return level.fd;
    struct stat st;
    int error = fstat(level.fd, &st) == 0 ? 0 : -errno;
    struct item *list = NULL;
    if (!error) {
        level.device = st.st_dev;
        level.inode = st.st_ino;
        error = read_items(level.fd, &list, &level.count);
    }
    int error2 = take_items(&level, list);
    error = error ? error : error2;
    if (walk->depth == walk->room) {
        size_t room = walk->room * 2 + 16;
        struct level *levels = realloc(walk->levels, room * sizeof *levels);
        if (!levels) {
            free_level(&level);
            return -ENOMEM;
        }
        walk->levels = levels;
        walk->room = room;
    }
    walk->levels[walk->depth++] = level;
    if (walk->depth > WINDOW + 1 && walk->levels[walk->depth - 1 - WINDOW].fd >= 0) {
        close(walk->levels[walk->depth - 1 - WINDOW].fd);
        walk->levels[walk->depth - 1 - WINDOW].fd = -1;
    }
    return error;
}

static bool is_level(int fd, const struct level *level)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_dev == level->device && st.st_ino == level->inode;
}

/* Finds the directory of level `depth` along the names from the root. A descriptor, or -1. */
static int find_from_root(weft_walk *walk, size_t depth)
{
    int fd = -1;
    for (size_t i = 1; i <= depth; i++) {
        size_t end = walk->levels[i].path_length;
        char kept = walk->path[end];
        walk->path[end] = '\0';
        int at = i == 1 ? walk->levels[0].fd : fd;
        int next = openat(at, walk->path + last_part(walk->path, end), OPEN_FLAGS | (i < depth ? O_PATH : 0));
        walk->path[end] = kept;
        if (fd >= 0)
            close(fd);
        fd = next;
        if (fd < 0)
            return -1;
    }
    if (fd >= 0 && is_level(fd, &walk->levels[depth]))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Leaves the deepest level; the one above needs its descriptor again. */
static __attribute__((noinline)) int ascend(weft_walk *walk)
{
    struct level *level = &walk->levels[walk->depth - 1], *parent = level - 1;
    if (walk->depth > 1 && parent->fd < 0) {
        int fd = level->fd >= 0 ? open_directory(walk, level->fd, "..") : -1;
        if (fd >= 0 && !is_level(fd, parent)) {
            close(fd);
            fd = -1;
        }
        parent->fd = fd >= 0 ? fd : find_from_root(walk, walk->depth - 2);
    }
    free_level(level);
    walk->depth--;
    return 0;
}

/* ---- the calls ---- */

weft_walk *weft_walk_open(const char *root)
{
    weft_walk *walk = calloc(1, sizeof *walk);
    size_t length = strlen(root);
    if (!walk || !reserve_path(walk, length)) {
        free(walk);
        return NULL;
    }
    memcpy(walk->path, root, length + 1);
    walk->path_length = length;
    return walk;
}

static void give(weft_walk *walk, weft_entry *entry, size_t name, size_t depth, int type, int error)
{
    *entry = (weft_entry){.path = walk->path, .name = walk->path + name, .depth = (int)depth, .type = type, .error = error};
    walk->enter = type == DT_DIR && error == 0;
}

static bool give_root(weft_walk *walk, weft_entry *entry)
{
    struct stat st;
    int error = weft_lstat(walk->path, &st);
    walk->begun = true;
    give(walk, entry, last_part(walk->path, walk->path_length), 0, error ? DT_UNKNOWN : type_of(st.st_mode), error);
    return true;
}

/* The next item of the deepest level. */
static void give_item(weft_walk *walk, weft_entry *entry)
{
    struct level *level = &walk->levels[walk->depth - 1];
    struct item *item = level->items[level->next];
    int error = item->error;
    size_t name;
    if (reserve_path(walk, level->path_length + 1 + strlen(item->name))) {
        name = set_path(walk, level->path_length, item->name);
    } else { /* then it is the directory that could not be read to its end */
        walk->path[walk->path_length = level->path_length] = '\0';
        name = last_part(walk->path, walk->path_length);
        error = -ENOMEM;
    }
    give(walk, entry, name, walk->depth, item->type, error);
    free(item);
    level->next++;
}

bool weft_walk_next(weft_walk *walk, weft_entry *entry)
{
    if (!walk->begun)
        return give_root(walk, entry);
    if (walk->enter) {
        walk->enter = false;
        size_t depth = walk->depth;
        int error = weft_blocking(descend, walk);
        if (error) {
            give(walk, entry, last_part(walk->path, walk->path_length), depth, DT_DIR, error);
            return true;
        }
    }
    while (walk->depth > 0) {
        struct level *level = &walk->levels[walk->depth - 1];
        if (level->next < level->count) {
            give_item(walk, entry);
            return true;
        }
        if (walk->depth > 1 && level[-1].fd < 0)
            weft_blocking(ascend, walk);
        else
            ascend(walk);
    }
    return false;
}

void weft_walk_skip(weft_walk *walk)
{
    walk->enter = false;
}

void weft_walk_close(weft_walk *walk)
{
    if (!walk)
        return;
    while (walk->depth > 0)
        free_level(&walk->levels[--walk->depth]);
    free(walk->levels);
    free(walk->path);
    free(walk);
}
