/* slab.c — chunks of records, found from a number and back.

   A chunk is aligned to its size rounded up to a power of two, so a record's address gives the chunk's. A chunk's first slot
   holds no record but the number that it would have had; so 0 is no record's number, and neither is a multiple of
   chunk_records. That one slot lost keeps all records aligned as their size is, and chunks as large as huge pages.

   Free records are not linked through themselves: an array, which has room for all records, is the stack of their addresses.
   So who takes or gives many holds the lock for a copy, and does not fetch, one after another, records that nobody has
   looked at for long; and who goes on to use them can have several fetched at the same time. */
#include "mem/slab.h"

#include "arch/sanitizer.h"
#include "base/fatal.h"

#include <string.h>

struct chunk_head {
    uint32_t number; /* [const] of the slot it is in */
};

static size_t chunk_size(const struct wi_slab *slab)
{
    return (size_t)slab->record_size * slab->chunk_records;
}

/* The power of two that a chunk is aligned to. */
static size_t chunk_align(const struct wi_slab *slab)
{
    return (size_t)1 << (64 - __builtin_clzl(chunk_size(slab) - 1));
}

/* Makes room for the addresses of so many free records. slab->lock is held. */
static bool make_room(struct wi_slab *slab, uint32_t records)
{
    if (slab->room >= records)
        return true;
    size_t room = 2 * (size_t)slab->room > records ? 2 * (size_t)slab->room : records;
    void **free = wi_os_map(room * sizeof free[0]);
    if (!free)
        return false;
    if (slab->free) {
        memcpy(free, slab->free, slab->n_free * sizeof free[0]);
        wi_os_unmap(slab->free, slab->room * sizeof free[0]);
    }
    slab->free = free;
    slab->room = (uint32_t)(room < UINT32_MAX ? room : UINT32_MAX);
    return true;
}

/* Makes the chunk whose first number is slab->fresh. slab->lock is held. */
static bool add_chunk(struct wi_slab *slab)
{
    WI_CHECK((slab->chunk_records & (slab->chunk_records - 1)) == 0 && slab->chunk_records > 1);
    WI_CHECK(slab->record_size >= sizeof(struct chunk_head) && slab->record_size % sizeof(void *) == 0);
    uint32_t index = slab->fresh / slab->chunk_records;
    if (index >= WI_SLAB_CHUNKS || slab->fresh > UINT32_MAX - slab->chunk_records)
        return false;
    if (!slab->chunks && !(slab->chunks = wi_os_map(WI_SLAB_CHUNKS * sizeof slab->chunks[0])))
        return false;
    if (!make_room(slab, slab->fresh + slab->chunk_records))
        return false;
    /* A small program has one chunk only and shall not pay for a huge page. */
    bool huge = index > 0 && chunk_size(slab) >= ((size_t)2 << 20);
    char *chunk = huge ? wi_os_map(chunk_size(slab)) : wi_os_reserve(chunk_size(slab), chunk_align(slab));
    if (!chunk)
        return false;
    wi_sanitizer_leak_root(chunk, chunk + chunk_size(slab));
    ((struct chunk_head *)chunk)->number = slab->fresh;
    wi_store_release(&slab->chunks[index], chunk); /* pairs with the acquire in wi_slab_record */
    slab->fresh++;
    return true;
}

/* Hands out up to n never-used numbers of one chunk, from *first on; 0 when out of memory. slab->lock is held. */
static uint32_t claim_fresh(struct wi_slab *slab, uint32_t n, uint32_t *first)
{
    if (slab->fresh % slab->chunk_records == 0 && !add_chunk(slab))
        return 0;
    uint32_t left = slab->chunk_records - slab->fresh % slab->chunk_records;
    n = n < left ? n : left;
    *first = slab->fresh;
    slab->fresh += n;
    wi_store_release(&slab->made, slab->fresh); /* pairs with an acquire by who walks all records */
    return n;
}

unsigned wi_slab_take(struct wi_slab *slab, unsigned n, void **records)
{
    wi_lock(&slab->lock);
    unsigned got = n < slab->n_free ? n : slab->n_free;
    slab->n_free -= got;
    for (unsigned i = 0; i < got; i++)
        records[i] = slab->free[slab->n_free + i];
    while (got < n) {
        uint32_t first, fresh = claim_fresh(slab, n - got, &first);
        if (fresh == 0)
            break;
        for (uint32_t i = 0; i < fresh; i++)
            records[got++] = wi_slab_record(slab, first + i);
    }
    wi_unlock(&slab->lock);
    return got;
}

void wi_slab_give(struct wi_slab *slab, unsigned n, void *const *records)
{
    wi_lock(&slab->lock);
    WI_CHECK(n > 0 && slab->n_free + n <= slab->room);
    WI_CHECK(slab->n_free == 0 || slab->free[slab->n_free - 1] != records[0]); /* given twice in a row */
    for (unsigned i = 0; i < n; i++) {
        WI_CHECK(wi_slab_record(slab, wi_slab_number(slab, records[i])) == records[i]);
        slab->free[slab->n_free + i] = records[i];
    }
    slab->n_free += n;
    wi_unlock(&slab->lock);
}

void *wi_slab_record(struct wi_slab *slab, uint32_t number)
{
    uint32_t index = number & (slab->chunk_records - 1);
    if (index == 0)
        return NULL;
    WI_CHECK(number < wi_load_relaxed(&slab->made));
    char *chunk = wi_load_acquire(&slab->chunks[number / slab->chunk_records]); /* pairs with the release in add_chunk */
    return chunk + (size_t)index * slab->record_size;
}

uint32_t wi_slab_number(struct wi_slab *slab, const void *record)
{
    uintptr_t offset = (uintptr_t)record & (chunk_align(slab) - 1);
    const struct chunk_head *head = (const struct chunk_head *)((const char *)record - offset);
    uint32_t size = slab->record_size;
    bool power_of_two = (size & (size - 1)) == 0; /* a shift is some ten times as fast as a division */
    return head->number + (power_of_two ? (uint32_t)offset >> __builtin_ctz(size) : (uint32_t)offset / size);
}

void wi_slab_destroy(struct wi_slab *slab)
{
    if (slab->chunks) {
        char *chunk;
        for (uint32_t i = 0; i < WI_SLAB_CHUNKS && (chunk = wi_load_relaxed(&slab->chunks[i])); i++) {
            wi_sanitizer_leak_root_gone(chunk, chunk + chunk_size(slab));
            wi_os_unmap(chunk, chunk_size(slab));
        }
        wi_os_unmap(slab->chunks, WI_SLAB_CHUNKS * sizeof slab->chunks[0]);
        if (slab->free)
            wi_os_unmap(slab->free, slab->room * sizeof slab->free[0]);
    }
    wi_slab_forget(slab);
}

void wi_slab_forget(struct wi_slab *slab)
{
    *slab = (struct wi_slab){.name = slab->name, .record_size = slab->record_size, .chunk_records = slab->chunk_records};
}
