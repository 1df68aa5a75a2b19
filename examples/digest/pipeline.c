/* The pipeline: a walker finds files, a bounded pool of digesters reads them, and a list takes what came out.

     walker ---- found ----> digester (as many as -j says) ----> list, under a mutex

   Each part is a plain loop, and the channel between them does the rest: a full channel makes the walker wait, an empty
   one the digesters, a closed one ends their loops. Walker and digesters are a group, which main waits for.

   There are two early ends, and both are the end of the group's context: an error with --fail-fast, which a digester
   returns, and Ctrl-C, which main.c makes the end of the context outside. Waits then end with -ECANCELED. What need not
   wait goes on, so loops that may never have to wait ask called_off(). Whoever holds an entry that is not done frees it;
   what is left in the channel is freed when all have ended. */
#include "pipeline.h"

#include <errno.h>

enum { QUEUE = 256 }; /* entries between the parts: enough that nobody waits for a part that is merely uneven */

struct pipeline {
    struct walk *walk;
    weft_chan(struct entry *) found;
    bool fail_fast;
    struct tally tally;
    weft_mutex mutex;      /* guards what follows */
    struct list *list;     /* what is done */
    struct entry **failed; /* the first error, with fail_fast */
};

static bool called_off(void)
{
    return weft_ctx_err(weft_ctx_current()) != 0;
}

static int walker(struct pipeline *p)
{
    int status = 0;
    for (struct entry *entry; status == 0 && (entry = walk_next(p->walk)) != NULL;) {
        status = called_off() ? -ECANCELED : weft_send(p->found, entry);
        if (status != 0)
            entry_free(entry);
    }
    weft_close(p->found);
    return status;
}

/* Puts an entry that is done into the list. A negative result ends everything. */
static int finish(struct pipeline *p, struct entry *entry)
{
    weft_scoped_lock(&p->mutex);
    list_add(p->list, entry);
    if (entry->error == 0 || !p->fail_fast)
        return 0;
    if (*p->failed == NULL)
        *p->failed = entry;
    return entry->error;
}

static int digester(struct pipeline *p)
{
    struct hasher *hasher = hasher_new();
    struct entry *entry;
    int status;
    while ((status = weft_recv_status(p->found, &entry)) == 0) {
        if (entry->error == 0)
            hasher_run(hasher, entry, called_off, &p->tally);
        if (entry->error == -ECANCELED && called_off()) {
            entry_free(entry);
            status = -ECANCELED;
        } else {
            status = finish(p, entry);
        }
        if (status != 0)
            break;
    }
    hasher_free(hasher);
    return status == -EPIPE ? 0 : status;
}

int pipeline_run(const struct options *options, struct list *list, struct entry **failed)
{
    struct pipeline p = {
        .walk = walk_new(options->roots, options->root_count),
        .found = weft_chan_make(struct entry *, QUEUE),
        .fail_fast = options->fail_fast,
        .list = list,
        .failed = failed,
    };
    if (p.found == NULL)
        out_of_memory();

    int status;
    {
        weft_group line = {0}, work = {0};
        weft_scoped_group(&line); /* the end of the block ends the progress line */
        weft_scoped_group(&work);
        if (options->progress)
            weft_group_go(&line, progress, &p.tally);
        weft_group_go(&work, walker, &p);
        for (int i = 0; i < options->jobs; i++)
            weft_group_go(&work, digester, &p);
        status = weft_group_wait(&work);
    }

    for (struct entry *entry; weft_try_recv(p.found, &entry) == 0;)
        entry_free(entry);
    weft_chan_free(p.found);
    walk_free(p.walk);
    return status;
}
