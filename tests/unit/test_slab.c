/* test_slab.c — records keep their memory, alignment and number. */
#define _GNU_SOURCE
#include "../test.h"
#include "mem/slab.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

static void check_numbers(uint32_t record_size, uint32_t chunk_records, unsigned n, size_t align)
{
    struct wi_slab slab = {.name = "test", .record_size = record_size, .chunk_records = chunk_records};
    void **records = calloc(n, sizeof *records);
    bool *seen = calloc((size_t)n * 2 + 2, sizeof *seen);
    CHECK_EQ(wi_slab_take(&slab, n, records), n);
    uint32_t made = wi_load_acquire(&slab.made);
    CHECK(made > n && made < 2 * n + 2);
    for (unsigned i = 0; i < n; i++) {
        CHECK_EQ((uintptr_t)records[i] % align, 0);
        for (uint32_t byte = 0; byte < record_size; byte++)
            CHECK_EQ(((char *)records[i])[byte], 0);
        memset(records[i], 0xa5, record_size); /* overlaps would show */
        uint32_t number = wi_slab_number(&slab, records[i]);
        CHECK(number > 0 && number < made && !seen[number]);
        seen[number] = true;
        CHECK(wi_slab_record(&slab, number) == records[i]);
    }
    unsigned walked = 0;
    for (uint32_t number = 0; number < made; number++) {
        CHECK_EQ(wi_slab_record(&slab, number) != NULL, seen[number]);
        walked += seen[number];
    }
    CHECK_EQ(walked, n);
    wi_slab_destroy(&slab);
    CHECK_EQ(slab.fresh, 0);
    CHECK_EQ(wi_slab_take(&slab, 1, records), 1);
    CHECK_EQ(wi_slab_number(&slab, records[0]), 1);
    wi_slab_destroy(&slab);
    free(records);
    free(seen);
}

TEST(numbers)
{
    check_numbers(128, 64, 1000, 128);
    check_numbers(192, 32, 500, 64);
    check_numbers(8, 1024, 3000, 8);
    check_numbers(4096, 2, 5, 4096);
    check_numbers(128, 16384, 40000, 128);
}

TEST(reused_records_keep_their_contents)
{
    struct wi_slab slab = {.name = "test", .record_size = 64, .chunk_records = 64};
    uint64_t *records[10], *again[11];
    CHECK_EQ(wi_slab_take(&slab, 10, (void **)records), 10);
    for (unsigned i = 0; i < 10; i++)
        records[i][1] = wi_slab_number(&slab, records[i]);
    wi_slab_give(&slab, 10, (void **)records);
    CHECK_EQ(wi_slab_take(&slab, 11, (void **)again), 11);
    for (unsigned i = 0; i < 10; i++) {
        CHECK(again[i] == records[i]);
        CHECK_EQ(again[i][1], wi_slab_number(&slab, again[i]));
    }
    CHECK_EQ(again[10][1], 0);
    CHECK_EQ(wi_load_relaxed(&slab.made), 12);
    wi_slab_destroy(&slab);
}

TEST(first_chunk_costs_what_it_uses)
{
    struct wi_slab slab = {.name = "test", .record_size = 128, .chunk_records = 16384};
    enum { CHUNK = 2 << 20 };
    static void *records[20000];
    CHECK_EQ(wi_slab_take(&slab, 1, records), 1);
    char *chunk = (char *)((uintptr_t)records[0] & ~(uintptr_t)(CHUNK - 1));
    unsigned char present[CHUNK / 4096];
    unsigned pages = 0;
    CHECK_EQ(mincore(chunk, CHUNK, present), 0);
    for (unsigned i = 0; i < CHUNK / wi_os_page_size(); i++)
        pages += present[i] & 1;
    CHECK_EQ(pages, 1);
    CHECK_EQ(wi_slab_take(&slab, 20000, records), 20000);
    CHECK_EQ((uintptr_t)records[19999] / CHUNK * CHUNK + 128 * (20001 % 16384 + 1), (uintptr_t)records[19999]);
    wi_slab_destroy(&slab);
}

static void limited_child(void)
{
    struct wi_slab slab = {.name = "test", .record_size = 4096, .chunk_records = 256};
    static void *records[100000];
    CHECK_EQ(wi_slab_take(&slab, 1, records), 1);
    long pages;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld", &pages) == 1);
    fclose(file);
    struct rlimit limit, tight;
    CHECK_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)pages * wi_os_page_size() + (16 << 20);
    CHECK_EQ(setrlimit(RLIMIT_AS, &tight), 0);
    if (wi_os_reserve(64 << 20, 0)) {
        printf("there are no limits here\n"); /* a user-mode emulator */
        fflush(stdout);
        _exit(0);
    }
    unsigned got = wi_slab_take(&slab, 10000, records + 1);
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK(got >= 8 * 255 && got < 17 * 255); /* all of the chunks that fit, whole */
    CHECK_EQ(wi_slab_take(&slab, 1000, records + 1 + got), 1000);
    for (unsigned i = 0; i < 1001 + got; i++)
        CHECK(wi_slab_record(&slab, wi_slab_number(&slab, records[i])) == records[i]);
    _exit(0);
}

TEST(out_of_memory)
{
    pid_t child = fork();
    if (child == 0)
        limited_child();
    int status;
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
}

/* ---- threads ---- */

static struct wi_slab shared = {.name = "shared", .record_size = 64, .chunk_records = 128};

static void *churn(void *argument)
{
    uint64_t random = (uint64_t)(uintptr_t)argument, *mine[64];
    for (int round = test_scale(20000); round > 0; round--) {
        unsigned n = (unsigned)(test_random_from(&random) % 64) + 1;
        CHECK_EQ(wi_slab_take(&shared, n, (void **)mine), n);
        for (unsigned i = 0; i < n; i++)
            mine[i][1] = (uint64_t)(uintptr_t)argument, mine[i][2] = i;
        for (unsigned i = 0; i < n; i++) {
            CHECK(mine[i][1] == (uint64_t)(uintptr_t)argument && mine[i][2] == i);
            CHECK(wi_slab_record(&shared, wi_slab_number(&shared, mine[i])) == mine[i]);
        }
        wi_slab_give(&shared, n, (void **)mine);
    }
    return NULL;
}

TEST(threads)
{
    wi_os_membarrier_init();
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)(test_random() | 1)), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    CHECK(wi_load_relaxed(&shared.made) <= 4 * 64 + 128); /* what was given back was used again */
    wi_slab_destroy(&shared);
}

TEST_MAIN()
