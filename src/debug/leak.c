/* leak.c — goroutines that wait for something that time does not bring, by the line that started them. */
#include "debug/debug.h"
#include "sched/sched.h"
#include "weft/debug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct group {
    const weft_site *site;
    const struct wi_wait_kind *kind;
    int count;
};

struct leaks {
    struct group *groups;
    size_t n, room;
    int count, uncounted; /* uncounted: there was no memory for their group */
};

static struct group *find_group(struct leaks *leaks, const struct wi_snapshot *s)
{
    for (size_t i = 0; i < leaks->n; i++)
        if (leaks->groups[i].site == s->site && leaks->groups[i].kind == s->kind)
            return &leaks->groups[i];
    if (leaks->n == leaks->room) {
        size_t room = leaks->room ? 2 * leaks->room : 16;
        struct group *groups = realloc(leaks->groups, room * sizeof *groups);
        if (!groups)
            return NULL;
        leaks->groups = groups;
        leaks->room = room;
    }
    leaks->groups[leaks->n] = (struct group){.site = s->site, .kind = s->kind};
    return &leaks->groups[leaks->n++];
}

static void count_one(struct wi_goroutine *g, void *argument)
{
    struct leaks *leaks = argument;
    struct wi_snapshot s;
    if (!wi_snapshot(g, &s, NULL, 0, NULL) || s.is_thread || s.state != WI_PARKED || !s.kind || s.kind->timed)
        return;
    struct group *group = find_group(leaks, &s);
    if (group)
        group->count++;
    else
        leaks->uncounted++;
    leaks->count++;
}

static int by_count(const void *a, const void *b)
{
    return ((const struct group *)b)->count - ((const struct group *)a)->count;
}

int weft_leaks(int fd)
{
    if (wi_load_acquire(&wi_sched.started) != WI_STARTED)
        return 0;
    int saved_errno = errno;
    struct leaks leaks = {0};
    wi_snapshot_each(count_one, &leaks);
    if (leaks.n)
        qsort(leaks.groups, leaks.n, sizeof *leaks.groups, by_count);
    if (leaks.count)
        dprintf(fd, "weft: %d goroutine%s still parked:\n", leaks.count, leaks.count == 1 ? " is" : "s are");
    for (size_t i = 0; i < leaks.n; i++)
        dprintf(fd, "  %6d  %s  started at %s:%u: %s\n", leaks.groups[i].count, leaks.groups[i].site->function,
                leaks.groups[i].site->file, leaks.groups[i].site->line, leaks.groups[i].kind->text);
    if (leaks.uncounted)
        dprintf(fd, "  %6d  others, for which there was no memory to tell them apart\n", leaks.uncounted);
    free(leaks.groups);
    errno = saved_errno;
    return leaks.count;
}
