/* slab.h — type-stable records: memory that held a record of a type is only ever reused for records of that type, and
   never unmapped while the runtime lives. So late completers, debuggers and locks may look at a record after it was freed.

   Records have a number (1 and up; 0 is none) that fits 32 bits and finds the record in O(1). Multiples of chunk_records are
   nobody's number. Who walks all records loads made (acquire) and skips the numbers for which wi_slab_record gives NULL. */
#ifndef WI_SLAB_H
#define WI_SLAB_H

#include "os/lock.h"

#define WI_SLAB_CHUNKS 16384 /* chunks a slab can have */

struct wi_slab {
    const char *name;        /* [const] for messages */
    uint32_t record_size;    /* [const] a power of two, or a multiple of the cache line; 8 at least */
    uint32_t chunk_records;  /* [const] slots a chunk, a power of two, one of them not a record; chunk memory is
                                   record_size * chunk_records, below 4 GiB */
    struct wi_lock lock;     /* guards free, n_free, room, fresh, chunks' growth */
    void **free;             /* [lock] the addresses of freed records, which keep their last contents */
    uint32_t n_free, room;   /* [lock] of free: used, and all; room for every record that there is */
    uint32_t fresh;          /* [lock] the next number to hand out; a multiple of chunk_records: its chunk is not made */
    _Atomic(char *) *chunks; /* [atomic] WI_SLAB_CHUNKS pointers, filled in order; never changed once set */
    _Atomic uint32_t made;   /* [atomic] numbers below this have been handed out at least once; what they name may be
                                   all zero still */
};

/* Hands out up to n records; returns how many: fewer than n, or 0, only when out of memory. Never-used records are zeroed,
   reused ones keep their last contents. */
unsigned wi_slab_take(struct wi_slab *slab, unsigned n, void **records);
/* Takes back n records. */
void wi_slab_give(struct wi_slab *slab, unsigned n, void *const *records);
static inline void wi_slab_give_one(struct wi_slab *slab, void *record)
{
    wi_slab_give(slab, 1, &record);
}
/* The record with this number, which must have been handed out at least once; NULL for a multiple of chunk_records. */
void *wi_slab_record(struct wi_slab *slab, uint32_t number);
/* The number of a record. O(1). */
uint32_t wi_slab_number(struct wi_slab *slab, const void *record);
/* Both for who knows the slab's sizes when it is compiled, and asks often. */
static inline uint32_t wi_slab_number_of(const void *record, size_t record_size, size_t chunk_records)
{
    uintptr_t offset = (uintptr_t)record & (record_size * chunk_records - 1); /* sizes that are powers of two */
    return *(const uint32_t *)((uintptr_t)record - offset) + (uint32_t)(offset / record_size);
}
static inline void *wi_slab_record_of(struct wi_slab *slab, uint32_t number, size_t record_size, size_t chunk_records)
{
    char *chunk = wi_load_acquire(&slab->chunks[number / chunk_records]); /* pairs with add_chunk */
    return chunk + number % chunk_records * record_size;
}
/* Unmaps everything: only when the runtime ends and nobody can look any more. The slab is then as new, its lock free whoever
   held it (in a forked child, threads that are no more). */
void wi_slab_destroy(struct wi_slab *slab);
/* In a forked child: forgets everything without unmapping it. The slab is then as new. */
void wi_slab_forget(struct wi_slab *slab);

#endif
