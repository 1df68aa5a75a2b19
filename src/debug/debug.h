/* debug.h — what the debug layer's files share, and their side of the scheduler's hooks. */
#ifndef WI_DEBUG_H
#define WI_DEBUG_H

#include "sched/goroutine.h"

/* ---- snapshot.c ---- */
/* A goroutine, or a foreign thread that waits, as it was at one moment. */
struct wi_snapshot {
    uint64_t id;           /* 0: a foreign thread */
    const weft_site *site; /* NULL: a foreign thread */
    enum wi_state state;
    uint32_t turn;    /* how often it changed its state */
    bool is_thread;   /* the record of a foreign thread */
    pid_t tid;        /* of a foreign thread */
    bool at_rest;     /* parked: a thread sleeps, and was not woken */
    const void *join; /* what its end counts down, see ctx/future.h; or NULL */
    char name[56];
    const struct wi_wait_kind *kind; /* parked: what it waits for ... */
    const void *object;              /* ... which one ... */
    int64_t since_ns;                /* ... since about when; 0: not known */
    uintptr_t sp, top;               /* parked, with a stack: its live part */
    size_t stack_size;
};
/* False: the record is free, or changed too often to be read. stack gets a copy of the first *copied bytes of the live part;
   NULL: not wanted. May be called at any time from any thread. */
bool wi_snapshot(struct wi_goroutine *g, struct wi_snapshot *snapshot, char *stack, size_t room, size_t *copied);
/* Calls fn for every record in use. */
void wi_snapshot_each(void (*fn)(struct wi_goroutine *g, void *argument), void *argument);
/* "receive on channel 0x7f..."; returns text. */
const char *wi_wait_text(const struct wi_snapshot *snapshot, char *text, size_t size);

/* ---- dump.c ---- */
/* "goroutine 42 (worker, digest.c:61)"; returns text. */
const char *wi_who(const struct wi_snapshot *snapshot, char *text, size_t size);

/* ---- cycle.c ---- */
/* Writes the cycles of goroutines that wait for each other; returns how many. sure: everything is known to stand still, and
   one look is enough. */
int wi_cycles_print(int fd, bool sure);

/* ---- deadlock.c: for the monitor, see hooks.h ---- */
int64_t wi_debug_quiet(void);
void wi_deadlock_started(void);

/* ---- held.c: for hooks.h ---- */
void wi_held_parks(struct wi_thread *t);

/* ---- signals.c: the environment, signals, the end of the program ---- */
void wi_debug_started(void);
void wi_debug_stopped(void);
void wi_debug_forget(void);
void wi_debug_main_started(void);
void wi_debug_requested(uint32_t requests);
void wi_debug_dump(void);
char *wi_debug_stack_text(void);
enum wi_request { WI_REQUEST_DUMP = 1, WI_REQUEST_FAULT = 2 };

#endif
