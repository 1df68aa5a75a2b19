/* descriptors.h — which descriptors the program has open: what a test must leave as it was; and numbers that stay free. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include <weft.h>

/* How many have a name in /proc that begins with `kind`, or, with `others`, one that does not. */
static TEST_UNUSED_ int count_kind_(const char *kind, bool others)
{
    int n = 0;
    DIR *all = opendir("/proc/self/fd");
    CHECK(all != NULL);
    for (struct dirent *one; (one = readdir(all));) {
        char name[64] = "";
        if (readlinkat(dirfd(all), one->d_name, name, sizeof name - 1) > 0)
            n += (strncmp(name, kind, strlen(kind)) == 0) != others;
    }
    closedir(all);
    return n;
}

/* "socket:", "pipe:", a path; "": all. */
static TEST_UNUSED_ int count_open(const char *kind)
{
    return count_kind_(kind, false);
}

/* weft itself has none. */
static TEST_UNUSED_ int sockets_open(void)
{
    return count_open("socket:");
}

/* All but those by which the monitor looks at threads. */
static TEST_UNUSED_ int open_descriptors(void)
{
    return count_kind_("/proc/", true);
}

/* The same descriptor at a number that nothing else gets, because the kernel gives the lowest that is free; also weft's own
   threads open files now and then. For calls that may begin after the close. */
static TEST_UNUSED_ int lift(int fd)
{
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 600);
    CHECK(high >= 600);
    CHECK_EQ(weft_close_fd(fd), 0);
    return high;
}

#endif
