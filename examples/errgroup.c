/* errgroup: counts the lines and bytes of files, several at a time, and stops at the first that cannot be read.

     errgroup FILE-OR-DIRECTORY ...      the files of a directory, not those below it
     errgroup                            shows itself on files that it makes

   A group's goroutines return int. The first negative result is the group's: it cancels the group's context, which ends the
   waits of the other goroutines and tells those that do not wait (weft_ctx_err), and weft_group_wait returns it when all
   have ended. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <weft.h>

enum { AT_ONCE = 4, NAME_MAX_ = 500 };

struct file {
    char path[NAME_MAX_];
    long lines, bytes;
    int error;
};

struct files {
    struct file *all;
    size_t n, room;
};

/* ---- one file ---- */

static int count(struct file *file, int fd)
{
    char buffer[16384];
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer); /* blocks this goroutine; others run */
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        int stopped = weft_ctx_err(weft_ctx_current());
        if (stopped)
            return stopped;
        file->bytes += n;
        for (const char *at = buffer; (at = memchr(at, '\n', (size_t)(buffer + n - at))); at++)
            file->lines++;
    }
}

static int count_file(struct file *file)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    file->error = fd < 0 ? -errno : count(file, fd);
    if (fd >= 0)
        close(fd);
    return file->error;
}

/* ---- all files ---- */

static int count_all(const struct files *files)
{
    weft_group group = WEFT_GROUP(AT_ONCE);
    weft_scoped_group(&group);
    for (size_t i = 0; i < files->n; i++) /* blocks while AT_ONCE are at work */
        weft_group_go(&group, count_file, &files->all[i]);
    return weft_group_wait(&group);
}

static int report(const struct files *files, int error)
{
    long lines = 0, bytes = 0;
    for (size_t i = 0; i < files->n; i++) {
        const struct file *file = &files->all[i];
        const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path;
        if (error && file->error == error)
            printf("%s: %s\n", name, strerror(-error));
        if (!error)
            printf("%8ld %10ld %s\n", file->lines, file->bytes, name);
        lines += file->lines;
        bytes += file->bytes;
    }
    if (error)
        printf("stopped: %s\n", strerror(-error));
    else
        printf("%8ld %10ld total of %zu files\n", lines, bytes, files->n);
    return error ? 1 : 0;
}

static int run(const struct files *files)
{
    return report(files, count_all(files));
}

/* ---- which files ---- */

static void add(struct files *files, const char *directory, const char *name)
{
    if (files->n == files->room) {
        files->room = files->room ? 2 * files->room : 16;
        files->all = realloc(files->all, files->room * sizeof *files->all);
        if (!files->all)
            abort();
    }
    struct file *file = &files->all[files->n++];
    *file = (struct file){.error = 0};
    snprintf(file->path, sizeof file->path, "%s%s%s", directory, *directory ? "/" : "", name);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

static void add_directory(struct files *files, const char *path)
{
    DIR *directory = opendir(path);
    if (!directory) {
        add(files, "", path); /* to fail there */
        return;
    }
    size_t first = files->n;
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct stat status;
        add(files, path, entry->d_name);
        if (stat(files->all[files->n - 1].path, &status) == 0 && S_ISDIR(status.st_mode))
            files->n--;
    }
    closedir(directory);
    if (files->n > first)
        qsort(files->all + first, files->n - first, sizeof *files->all, by_path);
}

static int count_arguments(int argc, char **argv)
{
    struct files files = {0};
    struct stat status;
    for (int i = 1; i < argc; i++)
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
            add_directory(&files, argv[i]);
        else
            add(&files, "", argv[i]);
    int result = run(&files);
    free(files.all);
    return result;
}

/* ---- the show ---- */

static void make_file(const char *directory, const char *name, int lines)
{
    char path[NAME_MAX_];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    for (int i = 1; file && i <= lines; i++)
        fprintf(file, "this is line %06d of %s\n", i, name);
    if (!file || fclose(file) != 0)
        perror(path);
}

static int show(void)
{
    static const char *const names[] = {"alder", "birch", "cedar", "elm", "fir", "oak"};
    char directory[] = "/tmp/errgroup-XXXXXX";
    if (!mkdtemp(directory)) {
        perror(directory);
        return 1;
    }
    for (int i = 0; i < 6; i++)
        make_file(directory, names[i], 1000 << i);

    struct files files = {0};
    add_directory(&files, directory);
    run(&files);
    add(&files, directory, "unicorn"); /* there is none */
    run(&files);

    for (int i = 0; i < 6; i++)
        remove(files.all[i].path);
    rmdir(directory);
    free(files.all);
    return 0;
}

int main(int argc, char **argv)
{
    return argc > 1 ? weft_run(count_arguments, argc, argv) : weft_run(show);
}
