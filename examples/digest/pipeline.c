/* The pipeline: a walker finds files, a bounded pool of digesters reads them, a collector gathers what came out.

     walker ---- found ----> digester (as many as -j says) ---- done ----> collector, the main goroutine

   Each part is a plain loop, and the channels between them do the rest: a full channel makes the sender wait, an empty one
   the receiver, a closed one ends the loops. There is no lock, no condition variable and no callback.

   The end travels with the stream: the walker closes `found`, so each digester's loop ends; when walker and digesters have
   all ended, `done` is closed, so the collector's loop ends. An early end takes the same way: the collector closes `found`
   itself. The walker's next send then gives -EPIPE, and the digesters drain what is left without reading it, because `stop`
   is set. So every goroutine always comes to its end, and every entry to the collector or back to free(). */
#include "pipeline.h"

#include <errno.h>

enum { QUEUE = 256 }; /* entries between two parts: enough that nobody waits for a part that is merely uneven */

struct pipeline {
    struct walk *walk;
    weft_chan(struct entry *) found;
    weft_chan(struct entry *) done;
    weft_waitgroup workers; /* the walker and the digesters */
    atomic_bool stop;       /* set by the collector: digesters read no further */
    struct tally tally;
};

static void walker(struct pipeline *p)
{
    for (struct entry *entry; (entry = walk_next(p->walk)) != NULL;) {
        if (weft_send(p->found, entry) != 0) {
            entry_free(entry);
            return; /* the collector wants no more */
        }
    }
    weft_close(p->found);
}

static void digester(struct pipeline *p)
{
    struct hasher *hasher = hasher_new();
    for (struct entry *entry; weft_recv(p->found, &entry);) {
        if (atomic_load(&p->stop))
            entry->error = -ECANCELED;
        else if (entry->error == 0)
            hasher_run(hasher, entry, &p->stop, &p->tally);
        weft_send(p->done, entry);
    }
    hasher_free(hasher);
}

static void closer(struct pipeline *p)
{
    weft_wg_wait(&p->workers);
    weft_close(p->done);
}

/* Gives the entry that ended everything, or NULL. */
static struct entry *collect(struct pipeline *p, struct list *list, bool fail_fast)
{
    struct entry *failed = NULL;
    for (struct entry *entry; weft_recv(p->done, &entry);) {
        list_add(list, entry);
        if (entry->error != 0 && fail_fast && failed == NULL) {
            failed = entry;
            atomic_store(&p->stop, true);
            weft_close(p->found); /* -EPIPE if the walker was done: fine */
        }
    }
    return failed;
}

int pipeline_run(const struct options *options, struct list *list, struct entry **failed)
{
    struct pipeline p = {
        .walk = walk_new(options->roots, options->root_count),
        .found = weft_chan_make(struct entry *, QUEUE),
        .done = weft_chan_make(struct entry *, QUEUE),
    };
    weft_waitgroup helpers = {0};
    weft_chan(char) finished = weft_chan_make(char, 0);
    if (p.found == NULL || p.done == NULL || finished == NULL)
        out_of_memory();

    weft_wg_go(&p.workers, walker, &p);
    for (int i = 0; i < options->jobs; i++)
        weft_wg_go(&p.workers, digester, &p);
    weft_wg_go(&helpers, closer, &p);
    if (options->progress)
        weft_wg_go(&helpers, progress, &p.tally, finished);

    *failed = collect(&p, list, options->fail_fast);
    weft_close(finished);
    weft_wg_wait(&helpers); /* they use p, which lives on this stack */

    weft_chan_free(finished);
    weft_chan_free(p.done);
    weft_chan_free(p.found);
    walk_free(p.walk);
    return 0;
}
