/* atomic.h — C11 atomics by the name of their order, so that a reader sees the order and a grep finds it.
   A comment at every use that is not relaxed says what it pairs with. */
#ifndef WI_ATOMIC_H
#define WI_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define wi_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define wi_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define wi_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define wi_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define wi_swap_acquire(p, v) atomic_exchange_explicit((p), (v), memory_order_acquire)
#define wi_swap_acq_rel(p, v) atomic_exchange_explicit((p), (v), memory_order_acq_rel)
#define wi_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define wi_add_acq_rel(p, v) atomic_fetch_add_explicit((p), (v), memory_order_acq_rel)
#define wi_sub_relaxed(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_relaxed)
#define wi_sub_acq_rel(p, v) atomic_fetch_sub_explicit((p), (v), memory_order_acq_rel)
#define wi_or_relaxed(p, v) atomic_fetch_or_explicit((p), (v), memory_order_relaxed)
#define wi_or_acq_rel(p, v) atomic_fetch_or_explicit((p), (v), memory_order_acq_rel)
#define wi_and_relaxed(p, v) atomic_fetch_and_explicit((p), (v), memory_order_relaxed)
#define wi_and_acq_rel(p, v) atomic_fetch_and_explicit((p), (v), memory_order_acq_rel)
/* Strong compare-and-swap: *expected is updated on failure (acquire). */
#define wi_cas_acq_rel(p, expected, v)                                                                                      \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acq_rel, memory_order_acquire)
#define wi_cas_acquire(p, expected, v)                                                                                      \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_acquire, memory_order_acquire)
#define wi_cas_relaxed(p, expected, v)                                                                                      \
    atomic_compare_exchange_strong_explicit((p), (expected), (v), memory_order_relaxed, memory_order_relaxed)
#define wi_fence_seq_cst() atomic_thread_fence(memory_order_seq_cst)

/* An add by the only writer: no locked instruction. */
#define wi_bump(p, v) wi_store_relaxed((p), wi_load_relaxed(p) + (v))

/* Keeps the compiler from moving memory accesses; the light side of a membarrier pair. */
static inline void wi_barrier_compiler(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void wi_pause(void)
{
#if defined(__x86_64__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

/* For declarations of variables: found without a detour, though the library's code may lie anywhere. */
#define WI_HIDDEN __attribute__((visibility("hidden")))

#define WI_LIKELY(x) __builtin_expect(!!(x), 1)
#define WI_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define WI_CACHE_LINE 64

#endif
