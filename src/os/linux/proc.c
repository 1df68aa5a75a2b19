/* proc.c — what Linux tells about the process, its threads and its share of the machine.

   The CPU quota: a process is in one control group of each hierarchy; /proc/self/cgroup says which, relative to the
   hierarchy's root, and mountinfo where (a part of) the hierarchy is mounted. Every group from there up to the mount point
   may have a quota, and the smallest holds. */
#define _GNU_SOURCE
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- lines of a file, without malloc ---- */

struct reader {
    int fd;
    size_t next, end; /* bytes of text not yet handed out */
    char text[4096];
};

static bool reader_open(struct reader *reader, const char *path)
{
    reader->next = reader->end = 0;
    return (reader->fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0;
}

/* The next line, without its newline, valid until the next call; NULL at the end. Lines that do not fit are left out. */
static char *reader_line(struct reader *reader)
{
    bool too_long = false;
    for (;;) {
        char *line = reader->text + reader->next;
        char *newline = memchr(line, '\n', reader->end - reader->next);
        if (newline) {
            *newline = '\0';
            reader->next = (size_t)(newline + 1 - reader->text);
            if (!too_long)
                return line;
            too_long = false;
            continue;
        }
        reader->end -= reader->next;
        memmove(reader->text, line, reader->end);
        reader->next = 0;
        if (reader->end == sizeof reader->text) {
            too_long = true;
            reader->end = 0;
        }
        ssize_t n = read(reader->fd, reader->text + reader->end, sizeof reader->text - reader->end);
        if (n <= 0)
            return NULL;
        reader->end += (size_t)n;
    }
}

/* ---- the CPU quota ---- */

#define GROUP_SPACE 2048 /* bytes of a control group's path, and of a file name in it */

struct group {
    bool found;
    char path[GROUP_SPACE];
};

static int quota_of(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return INT_MAX;
    long long cpus = quota / period + (quota % period != 0);
    return cpus < INT_MAX ? (int)cpus : INT_MAX;
}

/* The first line of a file of a group; false when there is none. */
static bool group_file(const char *group, const char *name, char *text, size_t space)
{
    char path[GROUP_SPACE + 32];
    snprintf(path, sizeof path, "%s/%s", group, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, space - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static int group_quota(const char *group, bool v2)
{
    char quota[64], period[64];
    if (v2) {
        long long most, each;
        if (!group_file(group, "cpu.max", quota, sizeof quota) || sscanf(quota, "%lld %lld", &most, &each) != 2)
            return INT_MAX; /* "max 100000", or the root group, which has no such file */
        return quota_of(most, each);
    }
    if (!group_file(group, "cpu.cfs_quota_us", quota, sizeof quota) ||
        !group_file(group, "cpu.cfs_period_us", period, sizeof period))
        return INT_MAX;
    return quota_of(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

static bool list_has(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0'))
            return true;
    return false;
}

/* Lines are like 4:cpu,cpuacct:/user and, for v2, 0::/user. */
static void find_groups(const char *cgroups, struct group *v1, struct group *v2)
{
    struct reader reader;
    if (!reader_open(&reader, cgroups))
        return;
    for (char *line; (line = reader_line(&reader));) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path || strlen(path + 1) >= GROUP_SPACE)
            continue;
        *path++ = '\0';
        struct group *group = *++controllers == '\0' ? v2 : list_has(controllers, "cpu") ? v1 : NULL;
        if (group) {
            group->found = true;
            strcpy(group->path, path);
        }
    }
    close(reader.fd);
}

/* mountinfo writes spaces and the like as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned code;
        if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
            *to = (char)code;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* The smallest quota from the group up to the mount point; root is the group that is mounted there. */
static int mounted_quota(const char *group, bool v2, const char *root, const char *mount)
{
    size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root), floor = strlen(mount);
    bool below = strncmp(group, root, skip) == 0 && (group[skip] == '/' || group[skip] == '\0') && !strstr(group, "/..");
    char directory[GROUP_SPACE];
    int length = snprintf(directory, sizeof directory, "%s%s", mount, below ? group + skip : "");
    if (length < 0 || (size_t)length >= sizeof directory)
        return INT_MAX;
    int least = INT_MAX;
    for (;;) {
        int quota = group_quota(directory, v2);
        least = quota < least ? quota : least;
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < floor)
            return least;
        *slash = '\0';
    }
}

int wi_os_cgroup_cpus(const char *cgroups, const char *mounts)
{
    int saved = errno, least = INT_MAX;
    struct group v1 = {.found = false}, v2 = {.found = false};
    find_groups(cgroups, &v1, &v2);
    struct reader reader;
    if ((v1.found || v2.found) && reader_open(&reader, mounts)) {
        /* 31 23 0:28 /root /mount/point options optional... - type source super,options */
        for (char *line; (line = reader_line(&reader));) {
            char *root, *mount, *type, *end = strstr(line, " - "), *rest = line;
            if (!end)
                continue;
            *end = '\0';
            for (int i = 0; i < 3; i++)
                strsep(&rest, " ");
            root = strsep(&rest, " ");
            mount = strsep(&rest, " ");
            rest = end + 3;
            type = strsep(&rest, " ");
            strsep(&rest, " ");
            if (!mount || !rest)
                continue;
            bool is_v2 = strcmp(type, "cgroup2") == 0;
            const struct group *group = is_v2 ? &v2 : &v1;
            if (!group->found || (!is_v2 && (strcmp(type, "cgroup") != 0 || !list_has(rest, "cpu"))))
                continue;
            unescape(root);
            unescape(mount);
            int quota = mounted_quota(group->path, is_v2, root, mount);
            least = quota < least ? quota : least;
        }
        close(reader.fd);
    }
    errno = saved;
    return least;
}

/* ---- CPUs and threads ---- */

static int affinity_cpus(void)
{
    unsigned long mask[8192 / (8 * sizeof(unsigned long))]; /* as many CPUs as Linux can be built for */
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    if (bytes <= 0)
        return (int)sysconf(_SC_NPROCESSORS_ONLN);
    int cpus = 0;
    for (size_t i = 0; i < (size_t)bytes / sizeof mask[0]; i++)
        cpus += __builtin_popcountl(mask[i]);
    return cpus;
}

int wi_os_cpus(void)
{
    int saved = errno;
    int cpus = affinity_cpus(), quota = wi_os_cgroup_cpus("/proc/self/cgroup", "/proc/self/mountinfo");
    errno = saved;
    cpus = quota < cpus ? quota : cpus;
    return cpus < 1 ? 1 : cpus;
}

pid_t wi_os_tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

bool wi_os_thread_exists(pid_t tid)
{
    int saved_errno = errno;
    bool exists = syscall(SYS_tgkill, getpid(), tid, 0) == 0 || errno != ESRCH;
    errno = saved_errno;
    return exists;
}

int wi_os_thread_watch(pid_t tid)
{
    int saved = errno;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = fd < 0 ? -errno : fd;
    errno = saved;
    return result;
}

int wi_os_thread_blocked(int watch)
{
    int saved = errno;
    char text[256]; /* "running", else the system call's number, arguments, stack pointer and program counter */
    ssize_t n = pread(watch, text, sizeof text, 0);
    int result = n < 0 ? -errno : n == 0 ? -ESRCH : text[0] != 'r';
    errno = saved;
    return result;
}

int wi_os_thread_count(void)
{
    int saved = errno, result = -ENOENT;
    struct reader reader;
    if (reader_open(&reader, "/proc/self/status")) {
        for (char *line; result < 0 && (line = reader_line(&reader));) {
            int threads;
            if (sscanf(line, "Threads: %d", &threads) == 1)
                result = threads;
        }
        close(reader.fd);
    } else {
        result = -errno;
    }
    errno = saved;
    return result;
}

#define DESCRIPTORS 4096 /* 8 bytes each */

void wi_os_reserve_descriptors(void)
{
    int saved = errno;
    struct rlimit limit;
    int fd = wi_os_thread_count() == 1 && getrlimit(RLIMIT_NOFILE, &limit) == 0 ? open("/", O_PATH | O_CLOEXEC) : -1;
    if (fd >= 0) {
        int last = fcntl(fd, F_DUPFD_CLOEXEC, (limit.rlim_cur < DESCRIPTORS ? (int)limit.rlim_cur : DESCRIPTORS) - 1);
        if (last >= 0)
            close(last);
        close(fd);
    }
    errno = saved;
}
