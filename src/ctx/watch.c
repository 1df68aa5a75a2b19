/* watch.c — calls for the end of a context: weft_ctx_after_func.

   A watch keeps its context until it is given back, so that the end that it waits for can come. It is in the list of the
   ending as long as it may still be stopped; who takes it off, under the lock, has it: the end copies what it needs and does
   not touch it after the unlock, because weft_ctx_unwatch may free it then. */
#include "ctx/ctx.h"

#include "sched/enter.h"

#include <stdlib.h>
#include <string.h>

struct weft_ctx_watch {
    struct weft_ctx_watch *next, **link; /* [ending->lock] link NULL: in no list, it has run or never will */
    struct wi_ending *ending;            /* [const] with a reference; NULL: the context never ends */
    const weft_site *site;               /* [const] */
    weft_fn_ fn;                         /* [const] */
    uintptr_t words[6];                  /* [const] */
};

/* The lock is held. */
static void unlink_watch(weft_ctx_watch *watch)
{
    *watch->link = watch->next;
    if (watch->next)
        watch->next->link = watch->link;
    watch->link = NULL;
}

void wi_watches_run(struct wi_thread *t, struct wi_ending *ending)
{
    for (;;) {
        struct weft_ctx_watch watch;
        wi_lock(&ending->lock);
        struct weft_ctx_watch *first = ending->watches;
        if (first) {
            watch = *first;
            unlink_watch(first);
        }
        wi_unlock(&ending->lock);
        if (!first)
            return;
        wi_perturb();
        if (wi_spawn_inside(t, NULL, false, watch.site, watch.fn, watch.words) != 0)
            wi_spawn_failed(-ENOMEM); /* nobody is there to be told */
    }
}

/* True: linked. False: the end has begun. */
static bool link_watch(struct wi_ending *ending, weft_ctx_watch *watch)
{
    wi_lock(&ending->lock);
    bool ended = wi_load_relaxed(&ending->err) != 0;
    if (!ended) {
        watch->next = ending->watches;
        watch->link = &ending->watches;
        if (watch->next)
            watch->next->link = &watch->next;
        ending->watches = watch;
    }
    wi_unlock(&ending->lock);
    return !ended;
}

weft_ctx_watch *weft_ctx_after_func_(weft_ctx *ctx, const weft_site *site, weft_fn_ fn, const uintptr_t *words)
{
    weft_ctx_watch *watch = malloc(sizeof *watch);
    if (!watch)
        return NULL;
    *watch = (weft_ctx_watch){.ending = wi_ending_of(ctx), .site = site, .fn = fn};
    memcpy(watch->words, words, sizeof watch->words);
    if (!watch->ending)
        return watch;
    wi_context_ref(&watch->ending->ctx.base); /* before others can end it, and with it the caller's */
    if (link_watch(watch->ending, watch))
        return watch;
    struct wi_thread *t = wi_enter_or_die();
    int error = wi_spawn_inside(t, NULL, false, site, fn, words);
    wi_leave(t);
    if (error) {
        wi_context_unref(&watch->ending->ctx.base);
        free(watch);
        return NULL;
    }
    return watch;
}

bool weft_ctx_unwatch(weft_ctx_watch *watch)
{
    if (!watch)
        return false;
    struct wi_ending *ending = watch->ending;
    bool stopped = true;
    if (ending) {
        wi_lock(&ending->lock);
        stopped = watch->link != NULL;
        if (stopped)
            unlink_watch(watch);
        wi_unlock(&ending->lock);
        wi_context_unref(&ending->ctx.base);
    }
    free(watch);
    return stopped;
}
