/* The walk: finds the regular files under the roots, as `find ROOT... -type f` does. Plain C that knows nothing of
   goroutines: whoever calls it may be one, and a read of a slow disk then blocks that goroutine only.

   It is an iterator and not a function that calls back, for a reason that is worth knowing. Compilers ask for the address
   of errno once per function, and a goroutine that blocks in weft may go on on another thread, with another errno. So a
   function should not both block in weft and use errno (or should read it by weft_errno). Here nothing blocks in weft, and
   noinline keeps it a function of its own.

   Files are opened relative to their directory's descriptor: faster than by a long path, paths may be longer than PATH_MAX,
   and nobody can lead the walk astray by swapping a directory for a link. An entry therefore holds a reference to its
   directory until it has been opened. Directories are read depth first, from a list instead of by recursion: a tree may
   be deep, and a goroutine's stack is small. */
#include "digest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct dir {
    DIR *stream;
    atomic_int references;
};

struct walk {
    char *const *roots;
    int roots_left;
    struct entry *pending; /* directories to read, the next one first */
    struct entry *reading; /* the directory being read, or NULL */
    struct dir *dir;       /* its descriptor */
};

static void dir_release(struct dir *dir)
{
    if (dir == NULL || atomic_fetch_sub(&dir->references, 1) != 1)
        return;
    closedir(dir->stream);
    free(dir);
}

/* An entry for name in the directory at parent_path; parent_path "" for a root. */
static struct entry *entry_new(struct dir *dir, const char *parent_path, const char *name)
{
    size_t parent_length = strlen(parent_path), name_length = strlen(name);
    bool slash = parent_length > 0 && parent_path[parent_length - 1] != '/';
    struct entry *entry = malloc(sizeof *entry + parent_length + slash + name_length + 1);
    if (entry == NULL)
        out_of_memory();
    memcpy(entry->path, parent_path, parent_length);
    if (slash)
        entry->path[parent_length] = '/';
    entry->name = memcpy(entry->path + parent_length + slash, name, name_length + 1);
    entry->next = NULL;
    entry->error = 0;
    entry->dir = dir;
    if (dir != NULL)
        atomic_fetch_add(&dir->references, 1);
    return entry;
}

static void entry_forget_dir(struct entry *entry)
{
    dir_release(entry->dir);
    entry->dir = NULL;
}

static int entry_dir_fd(const struct entry *entry)
{
    return entry->dir != NULL ? dirfd(entry->dir->stream) : AT_FDCWD;
}

void entry_free(struct entry *entry)
{
    dir_release(entry->dir);
    free(entry);
}

/* O_NOFOLLOW and O_NONBLOCK: should a link or a FIFO have taken the file's place since it was found, that is an error and
   not a wait for ever. */
__attribute__((noinline)) int entry_open(struct entry *entry)
{
    int fd = openat(entry_dir_fd(entry), entry->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    entry_forget_dir(entry);
    return fd;
}

/* Opens the pending directory. 0, or a negative errno. */
static int begin_dir(struct walk *walk, struct entry *entry)
{
    int fd = openat(entry_dir_fd(entry), entry->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        int error = -errno;
        close(fd);
        return error;
    }
    struct dir *dir = malloc(sizeof *dir);
    if (dir == NULL)
        out_of_memory();
    dir->stream = stream;
    atomic_init(&dir->references, 1);
    walk->dir = dir;
    walk->reading = entry;
    entry_forget_dir(entry);
    return 0;
}

/* Leaves the directory that was being read, and gives its entry. */
static struct entry *end_dir(struct walk *walk)
{
    struct entry *entry = walk->reading;
    dir_release(walk->dir);
    walk->dir = NULL;
    walk->reading = NULL;
    return entry;
}

/* What a new entry is worth: a file or an unreadable one is returned, a directory becomes pending, the rest is dropped. */
static struct entry *classify(struct walk *walk, struct entry *entry, unsigned char type)
{
    if (type == DT_UNKNOWN) { /* a root, or a file system that does not say */
        struct stat status;
        if (fstatat(entry_dir_fd(entry), entry->name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
            entry->error = -errno;
            return entry;
        }
        type = S_ISREG(status.st_mode) ? DT_REG : S_ISDIR(status.st_mode) ? DT_DIR : DT_LNK;
    }
    if (type == DT_REG)
        return entry;
    if (type == DT_DIR) {
        entry->next = walk->pending;
        walk->pending = entry;
    } else {
        entry_free(entry);
    }
    return NULL;
}

/* Looks at the next name of the directory being read. The entry to return, or NULL to go on. */
static struct entry *step_dir(struct walk *walk)
{
    errno = 0;
    const struct dirent *item = readdir(walk->dir->stream);
    if (item == NULL) {
        int error = -errno;
        struct entry *entry = end_dir(walk);
        if (error != 0) {
            entry->error = error;
            return entry;
        }
        entry_free(entry);
        return NULL;
    }
    if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
        return NULL;
    if (item->d_type != DT_REG && item->d_type != DT_DIR && item->d_type != DT_UNKNOWN)
        return NULL;
    return classify(walk, entry_new(walk->dir, walk->reading->path, item->d_name), item->d_type);
}

__attribute__((noinline)) struct entry *walk_next(struct walk *walk)
{
    for (;;) {
        struct entry *entry;
        if (walk->reading != NULL) {
            entry = step_dir(walk);
        } else if (walk->pending != NULL) {
            entry = walk->pending;
            walk->pending = entry->next;
            entry->error = begin_dir(walk, entry);
            if (entry->error == 0)
                continue;
        } else if (walk->roots_left > 0) {
            walk->roots_left--;
            entry = classify(walk, entry_new(NULL, "", *walk->roots++), DT_UNKNOWN);
        } else {
            return NULL;
        }
        if (entry != NULL) {
            if (entry->error != 0)
                entry_forget_dir(entry);
            return entry;
        }
    }
}

struct walk *walk_new(char *const *roots, int count)
{
    struct walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL)
        out_of_memory();
    walk->roots = roots;
    walk->roots_left = count;
    return walk;
}

void walk_free(struct walk *walk)
{
    if (walk->reading != NULL)
        entry_free(end_dir(walk));
    while (walk->pending != NULL) {
        struct entry *entry = walk->pending;
        walk->pending = entry->next;
        entry_free(entry);
    }
    free(walk);
}
