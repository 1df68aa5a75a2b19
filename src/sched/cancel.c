/* cancel.c — joining and leaving a context's canceller, and ending the waits of its members. The protocol: cancel.h. */
#include "sched/cancel.h"

#include "base/perturb.h"
#include "sched/hooks.h"

#define CHUNK 64U /* members that are ended between two looks at the outside */

static struct wi_slab shard_slab = {
    .name = "context shards", .record_size = WI_CANCEL_SHARDS * sizeof(struct wi_members), .chunk_records = 256};

static const struct wi_wait_kind waits_for_end = {.text = "the end of a wait that its context ended"};

struct wi_context wi_background;

/* ---- members ---- */

/* The list is long enough for workers to be in each other's way: makes one for each. */
static void make_shards(struct wi_canceller *canceller)
{
    void *record;
    if (wi_load_relaxed(&canceller->shards) || wi_slab_take(&shard_slab, 1, &record) == 0)
        return; /* no memory: slower, not wrong */
    struct wi_members *lists = record;
    for (unsigned i = 0; i < WI_CANCEL_SHARDS; i++) {
        lists[i].first = NULL;
        lists[i].count = 0;
    }
    wi_store_release(&canceller->shards, lists); /* pairs with the acquires below */
}

/* Which of the shards: the workers have different ones, as far as that goes, and each has as many as that leaves. */
static unsigned shard_of(struct wi_thread *t, struct wi_goroutine *g)
{
    struct wi_worker *w = wi_load_relaxed(&t->worker);
    unsigned procs = wi_sched.procs, each = procs < WI_CANCEL_SHARDS ? WI_CANCEL_SHARDS / procs : 1;
    return ((w ? w->number : t->number) + procs * (wi_goroutine_number(g) % each)) % WI_CANCEL_SHARDS;
}

static struct wi_members *lock_list(struct wi_thread *t, struct wi_goroutine *g, struct wi_canceller *canceller)
{
    struct wi_members *shards = wi_load_acquire(&canceller->shards); /* pairs with make_shards */
    struct wi_members *list = shards ? &shards[shard_of(t, g)] : &canceller->members;
    wi_lock(&list->lock);
    if (list == &canceller->members && list->count >= WI_CANCEL_SHARD_AT)
        make_shards(canceller);
    return list;
}

/* The lock is held. */
static void link_member(struct wi_members *list, struct wi_member *member)
{
    member->list = list;
    member->next = list->first;
    member->link = &list->first;
    if (member->next)
        member->next->link = &member->next;
    list->first = member;
    list->count++;
    wi_store_relaxed(&member->linked, true);
}

static void unlink_member(struct wi_member *member)
{
    struct wi_members *list = member->list;
    wi_lock(&list->lock);
    if (wi_load_relaxed(&member->linked)) { /* still */
        *member->link = member->next;
        if (member->next)
            member->next->link = member->link;
        list->count--;
    }
    wi_unlock(&list->lock);
}

void wi_cancel_enter(struct wi_thread *t, struct wi_member *member, struct wi_context *context, bool shielded)
{
    struct wi_goroutine *g = wi_waiting(t);
    member->g = g;
    member->lifetime = wi_lifetime;
    member->outer = wi_load_relaxed(&g->run.member);
    member->context = context;
    member->shielded = shielded;
    wi_store_relaxed(&member->linked, false);
    struct wi_canceller *canceller = shielded ? NULL : context->canceller;
    if (canceller && wi_load_relaxed(&canceller->ended) == 0) {
        struct wi_members *list = lock_list(t, g, canceller);
        if (wi_load_relaxed(&canceller->ended) == 0) /* looked at under the lock: see cancel.h */
            link_member(list, member);
        wi_unlock(&list->lock);
    }
    g->flags |= WI_G_MEMBER;
    wi_store_release(&g->run.member, member); /* pairs with the canceller's load: see cancel.h */
}

/* Takes a member that is not the innermost out of g's chain: an exit or a panic undoes it, under its shield, which was put
   up in the member's context and must not go on naming that. It may be in no chain at all: a foreign thread keeps its
   members when the runtime is shut down, but gets another record. */
static void leave_from_below(struct wi_goroutine *g, struct wi_member *member)
{
    struct wi_context *context = member->outer ? member->outer->context : &wi_background;
    for (struct wi_member *inner = wi_load_relaxed(&g->run.member); inner; inner = inner->outer) {
        if (inner->shielded && inner->context == member->context)
            inner->context = context;
        if (inner->outer == member) {
            inner->outer = member->outer;
            return;
        }
    }
}

static void leave_chain(struct wi_goroutine *g, struct wi_member *member)
{
    if (WI_UNLIKELY(wi_load_relaxed(&g->run.member) != member)) {
        leave_from_below(g, member);
        return;
    }
    wi_store_release(&g->run.member, member->outer);
    if (!member->outer)
        g->flags &= ~(uint32_t)WI_G_MEMBER;
}

void wi_cancel_leave(struct wi_thread *t, struct wi_member *member)
{
    if (WI_LIKELY(t != NULL))
        leave_chain(wi_waiting(t), member);
    if (wi_load_acquire(&member->linked)) /* pairs with take_members */
        unlink_member(member);
}

void wi_cancel_leave_all(struct wi_thread *t, struct wi_goroutine *g)
{
    for (struct wi_member *member; (member = wi_load_relaxed(&g->run.member));) {
        struct wi_context *context = member->outer ? NULL : member->context;
        wi_cancel_leave(t, member);
        if (context)
            wi_context_unref(context);
    }
}

void wi_context_unref(struct wi_context *context)
{
    if (context == &wi_background)
        return;
    uint32_t before = wi_sub_acq_rel(&context->references, 1); /* the last one sees what the others did */
    if (WI_UNLIKELY(before == 0))
        wi_fatal("free of a context that has been freed");
    if (before == 1)
        wi_hooks.context_free(context);
}

/* ---- ending ---- */

/* Claims the wait that the member's goroutine is in, if this context may end it. The list is locked. */
static bool claim(struct wi_member *member)
{
    if (WI_UNLIKELY(member->lifetime != wi_lifetime))
        return false;
    struct wi_goroutine *g = member->g;
    uint64_t word = wi_load_acquire(&g->wait); /* pairs with wi_wait_open */
    wi_perturb();
    if ((word & (WI_WAIT_OPEN | WI_WAIT_CANCELLABLE)) != (WI_WAIT_OPEN | WI_WAIT_CANCELLABLE))
        return false;
    if (wi_load_relaxed(&g->run.member) != member)
        return false;
    return wi_wait_claim_by(g, word & ~WI_WAIT_PARKED, WI_WAIT_BY_CONTEXT);
}

/* Completes n claimed waits; the goroutines that are at rest are queued for all workers at once. */
static void complete(struct wi_thread *t, struct wi_goroutine **claimed, unsigned n)
{
    unsigned queued = 0;
    for (unsigned i = 0; i < n; i++) {
        struct wi_goroutine *g = claimed[i];
        if (!wi_wait_done(g, 1)) /* any ticket but 0: it is a shared wait */
            continue;
        if (g->flags & (WI_G_THREAD | WI_G_PINNED | WI_G_STAYS)) {
            wi_ready(t, g);
            continue;
        }
        wi_goroutine_set_state(g, WI_READY);
        claimed[queued++] = g;
    }
    if (!queued)
        return;
    wi_inject_push_all(&wi_inject, claimed, queued);
    wi_alert(NULL);
}

/* Takes up to CHUNK members off n lists, which are locked, for good. It goes from list to list, because a member is on a
   stack that nobody has looked at for long: what the next one of the same list is takes the time of a cache miss to learn,
   some 300 ns, in which it learns of all lists. */
static unsigned take_members(struct wi_members *lists, unsigned n, struct wi_member **taken)
{
    struct wi_member *at[WI_CANCEL_SHARDS];
    unsigned n_taken = 0;
    for (unsigned i = 0; i < n; i++)
        at[i] = lists[i].first;
    for (bool any = true; any && n_taken < CHUNK;) {
        any = false;
        for (unsigned i = 0; i < n && n_taken < CHUNK; i++)
            if (at[i]) {
                taken[n_taken++] = at[i];
                at[i] = at[i]->next;
                lists[i].count--;
                any = true;
            }
    }
    for (unsigned i = 0; i < n; i++)
        if (lists[i].first != at[i]) {
            lists[i].first = at[i];
            if (at[i])
                at[i]->link = &lists[i].first;
        }
    return n_taken;
}

/* One chunk: false when no member was left. */
static bool end_some(struct wi_thread *t, struct wi_members *lists, unsigned n)
{
    struct wi_member *taken[CHUNK];
    struct wi_goroutine *claimed[CHUNK];
    unsigned n_claimed = 0;
    for (unsigned i = 0; i < n; i++)
        wi_lock(&lists[i].lock); /* nobody else takes more than one */
    unsigned n_taken = take_members(lists, n, taken);
    for (unsigned i = 0; i < n_taken; i++) {
        __builtin_prefetch(&taken[i]->g->wait);
        __builtin_prefetch(&taken[i]->g->run.member);
    }
    for (unsigned i = 0; i < n_taken; i++) {
        if (claim(taken[i]))
            claimed[n_claimed++] = taken[i]->g;
        wi_store_release(&taken[i]->linked, false); /* pairs with wi_cancel_leave: from here on it may be gone */
    }
    for (unsigned i = 0; i < n; i++)
        wi_unlock(&lists[i].lock);
    complete(t, claimed, n_claimed);
    return n_taken == CHUNK;
}

bool wi_cancel_begin(struct wi_canceller *canceller, int reason)
{
    WI_CHECK(wi_load_relaxed(&canceller->ended) == 0);
    wi_store_release(&canceller->ended, reason); /* pairs with the acquires of who asks why */
    wi_lock(&canceller->members.lock);
    bool any = canceller->members.first || wi_load_relaxed(&canceller->shards);
    wi_unlock(&canceller->members.lock);
    return any;
}

void wi_cancel_sweep(struct wi_thread *t, struct wi_canceller *canceller, bool breathe)
{
    struct wi_members *lists = &canceller->members;
    unsigned n = 1;
    wi_perturb();
    for (;;) {
        if (end_some(t, lists, n)) {
            if (breathe)
                wi_breathe(t);
        } else if (n > 1 || !(lists = wi_load_acquire(&canceller->shards))) { /* pairs with make_shards */
            return;
        } else {
            n = WI_CANCEL_SHARDS;
        }
    }
}

int wi_wait_refused(struct wi_thread *t, struct wi_goroutine *g, uint64_t ticket)
{
    int reason = wi_cancel_reason(g);
    if (!wi_wait_claim(g, ticket)) { /* the canceller has: its completion must have come before we may open another wait */
        wi_wait_on(t, g, &waits_for_end, NULL);
        wi_park(t, wi_wait_commit, NULL);
    } else if (!wi_waits_as_thread(t)) {
        wi_yield(t);
    }
    return reason;
}

void wi_cancel_destroy(struct wi_canceller *canceller)
{
    WI_CHECK(!canceller->members.first);
    struct wi_members *lists = wi_load_relaxed(&canceller->shards);
    wi_store_relaxed(&canceller->shards, NULL);
    if (!lists)
        return;
    wi_slab_give_one(&shard_slab, lists);
}

void wi_cancel_slabs_forget(void)
{
    wi_slab_forget(&shard_slab);
}
