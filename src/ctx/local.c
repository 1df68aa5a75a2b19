/* local.c — goroutine-local values: an array by key number, on the heap, in the goroutine's extra record. */
#include "ctx/panic.h"
#include "sched/enter.h"
#include "weft/local.h"

#include <string.h>

#define ROUNDS 4 /* as many as POSIX promises for thread-specific values */

struct local {
    void *value;
    void (*destructor)(void *value);
};

struct locals {
    uint32_t n;
    struct local values[];
};

static _Atomic uint32_t n_keys;

static uint32_t number_of(weft_local *key)
{
    _Atomic uint32_t *number = (_Atomic uint32_t *)&key->number;
    uint32_t known = wi_load_relaxed(number);
    if (known)
        return known;
    uint32_t fresh = wi_add_relaxed(&n_keys, 1) + 1; /* wasted when another thread is quicker */
    return wi_cas_relaxed(number, &known, fresh) ? fresh : known;
}

void *weft_local_get(weft_local *key)
{
    struct wi_thread *t = wi_self();
    struct wi_goroutine *g = t && !t->outdated ? wi_waiting(t) : NULL;
    struct locals *locals = g && g->extra ? g->extra->locals : NULL;
    uint32_t number = wi_load_relaxed((_Atomic uint32_t *)&key->number);
    return locals && number && number <= locals->n ? locals->values[number - 1].value : NULL;
}

int weft_local_set(weft_local *key, void *value)
{
    struct wi_thread *t = wi_enter();
    if (!t)
        return -EDEADLK;
    struct wi_extra *extra = wi_extra_of(wi_waiting(t));
    wi_leave(t);
    if (!extra)
        return -ENOMEM;
    uint32_t number = number_of(key);
    struct locals *locals = extra->locals;
    if (!locals || number > locals->n) {
        uint32_t before = locals ? locals->n : 0, n = number + number / 2 + 3;
        locals = realloc(locals, sizeof *locals + n * sizeof *locals->values);
        if (!locals)
            return -ENOMEM;
        memset(&locals->values[before], 0, (n - before) * sizeof *locals->values);
        locals->n = n;
        extra->locals = locals;
    }
    locals->values[number - 1] = (struct local){.value = value, .destructor = key->destructor};
    return 0;
}

void wi_locals_destroy(struct wi_goroutine *g)
{
    for (unsigned round = 0, any = 1; any && round < ROUNDS; round++) {
        any = 0;
        struct locals *locals;
        for (uint32_t i = 0; g->extra && (locals = g->extra->locals) && i < locals->n; i++) { /* a destructor may set more */
            struct local local = locals->values[i];
            locals->values[i] = (struct local){0};
            if (!local.value || !local.destructor)
                continue;
            any = 1;
            wi_call_guarded((weft_fn_)local.destructor, (uintptr_t)local.value);
        }
    }
    wi_locals_forget(g);
}

void wi_locals_forget(struct wi_goroutine *g)
{
    if (!g->extra)
        return;
    free(g->extra->locals);
    g->extra->locals = NULL;
}
