/* sanitizer.h — tells ASan, TSan and Valgrind about stacks and switches. Without them every function here is empty.

   A side is one end of a switch: a goroutine's stack (embedded in its descriptor) or a thread's own stack (embedded in what
   the scheduler keeps per thread; zeroed when the thread starts). A goroutine may leave its stack on one thread and go on on
   another: nothing here belongs to a thread but the thread's own side.

   Around every wi_switch, in the function that makes it:
       wi_sanitizer_before_switch(from, to, from_dies);
       wi_switch(&from_sp, to_sp);
       wi_sanitizer_after_switch(from, previous);    (previous: who switched back here)
   after_switch is also the first thing that a new context does; it comes before the commit step publishes the previous
   side.
   Of a stack: first_use once, before the first switch to it; reuse before the first switch of its next goroutine; discard
   before its memory is unmapped.

   TSan: each switch counts as synchronisation, because what a worker keeps to itself passes from side to side by it. A
   fiber's shadow call stack grows by the frames that a dying goroutine left; see WI_SANITIZER_TSAN_USES. */
#ifndef WI_SANITIZER_H
#define WI_SANITIZER_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WI_SANITIZER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WI_SANITIZER_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WI_SANITIZER_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define WI_SANITIZER_TSAN 1
#endif

#ifdef WI_SANITIZER_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/lsan_interface.h>
#endif
#ifdef WI_SANITIZER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef WEFT_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

struct wi_sanitizer_side {   /* [owner]: who runs on it; while suspended, who switches to it or holds it in a cache */
    void *asan_fake;         /* its fake stack while suspended; NULL for a stack that nobody lives on */
    const void *asan_bottom; /* lowest address, and size: a stack's from first_use, a thread's learned at its first switch */
    size_t asan_size;
    void *tsan_fiber;   /* NULL until the first switch from (a thread) or to (a stack) it */
    unsigned tsan_uses; /* goroutines that the fiber has served, but for the first */
    unsigned valgrind_id;
};

/* How many goroutines in a row may share a fiber. One of its own makes TSan's reports exact and costs 3 µs; up to gcc 12
   (and clang 13) it costs half a millisecond, so there it is pooled with its stack, but not for ever: its shadow call stack
   has room for 65,536 frames and keeps those that a goroutine had when it ended. */
#if (defined(__clang__) && __clang_major__ >= 14) || (!defined(__clang__) && __GNUC__ >= 13)
#define WI_SANITIZER_TSAN_USES 1
#else
#define WI_SANITIZER_TSAN_USES 256
#endif

/* The functions must be inlined: TSan would count their return on the other side's shadow call stack. */
#define WI_SANITIZER_HOOK static inline __attribute__((always_inline))

#ifdef WI_SANITIZER_ASAN
/* Clears the red zones of the frames that the calling, dying goroutine leaves; deeper ones were cleared at their return. */
void wi_sanitizer_unpoison_frames(const struct wi_sanitizer_side *side);
/* The same for frames that are unwound, up to the one whose stack pointer is sp. */
void wi_sanitizer_unpoison_below(const void *sp);
#endif

WI_SANITIZER_HOOK void wi_sanitizer_stack_first_use(struct wi_sanitizer_side *side, char *low, char *top)
{
    *side = (struct wi_sanitizer_side){.asan_bottom = low, .asan_size = (size_t)(top - low)};
#ifdef WEFT_HAVE_VALGRIND
    side->valgrind_id = VALGRIND_STACK_REGISTER(low, top - 1);
#endif
}

WI_SANITIZER_HOOK void wi_sanitizer_stack_reuse(struct wi_sanitizer_side *side)
{
#ifdef WI_SANITIZER_TSAN
    if (side->tsan_fiber && ++side->tsan_uses >= WI_SANITIZER_TSAN_USES) {
        __tsan_destroy_fiber(side->tsan_fiber);
        side->tsan_fiber = NULL;
        side->tsan_uses = 0;
    }
#endif
    (void)side;
}

WI_SANITIZER_HOOK void wi_sanitizer_stack_discard(struct wi_sanitizer_side *side)
{
#ifdef WI_SANITIZER_ASAN
    __asan_unpoison_memory_region(side->asan_bottom, side->asan_size); /* of a context that never went on */
#endif
#ifdef WI_SANITIZER_TSAN
    if (side->tsan_fiber)
        __tsan_destroy_fiber(side->tsan_fiber);
#endif
#ifdef WEFT_HAVE_VALGRIND
    VALGRIND_STACK_DEREGISTER(side->valgrind_id);
#endif
    *side = (struct wi_sanitizer_side){0};
}

WI_SANITIZER_HOOK void wi_sanitizer_before_switch(struct wi_sanitizer_side *from, struct wi_sanitizer_side *to,
                                                  bool from_dies)
{
#ifdef WI_SANITIZER_ASAN
    if (from_dies) {
        wi_sanitizer_unpoison_frames(from);
        from->asan_fake = NULL;
    }
    __sanitizer_start_switch_fiber(from_dies ? NULL : &from->asan_fake, to->asan_bottom, to->asan_size);
#endif
#ifdef WI_SANITIZER_TSAN
    if (!from->tsan_fiber)
        from->tsan_fiber = __tsan_get_current_fiber();
    if (!to->tsan_fiber)
        to->tsan_fiber = __tsan_create_fiber(0);
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    (void)from, (void)to, (void)from_dies;
}

WI_SANITIZER_HOOK void wi_sanitizer_after_switch(struct wi_sanitizer_side *self, struct wi_sanitizer_side *previous)
{
#ifdef WI_SANITIZER_ASAN
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(self->asan_fake, &bottom, &size);
    if (!previous->asan_size) {
        previous->asan_bottom = bottom;
        previous->asan_size = size;
    }
#endif
    (void)self, (void)previous;
}

/* The frames below sp, the caller's but for itself, are left by unwinding: what is called next lies in their place. */
WI_SANITIZER_HOOK void wi_sanitizer_frames_left(const void *sp)
{
#ifdef WI_SANITIZER_ASAN
    wi_sanitizer_unpoison_below(sp);
#endif
    (void)sp;
}

/* A goroutine ends from within its frames. They would stay on the fiber's shadow call stack, and TSan keeps every different
   one that it sees, at an allocation or a lock, for ever: the fiber has served. */
WI_SANITIZER_HOOK void wi_sanitizer_stack_abandoned(struct wi_sanitizer_side *side)
{
#ifdef WI_SANITIZER_TSAN
    side->tsan_uses = WI_SANITIZER_TSAN_USES;
#endif
    (void)side;
}

/* LSan looks for pointers in the heap, in globals and in the stacks that threads run on. It is told of mapped memory that
   points to the heap when that is made, and at exit, before it looks, of the live part of each suspended stack. */
WI_SANITIZER_HOOK void wi_sanitizer_leak_root(const void *low, const void *high)
{
#ifdef WI_SANITIZER_ASAN
    __lsan_register_root_region(low, (size_t)((const char *)high - (const char *)low));
#endif
    (void)low, (void)high;
}

/* Before the same memory is unmapped. */
WI_SANITIZER_HOOK void wi_sanitizer_leak_root_gone(const void *low, const void *high)
{
#ifdef WI_SANITIZER_ASAN
    __lsan_unregister_root_region(low, (size_t)((const char *)high - (const char *)low));
#endif
    (void)low, (void)high;
}

#endif
