/* idle.c — a program that waits costs no CPU, whatever it waits with, and its silence is no deadlock as long as its main
   thread does something of its own. */
#include "../workload.h"
#include <weft.h>

#include "../test.h"

enum { PARKED = 1000, IDLE_MS = 2000 };

static int64_t cpu_ns(void)
{
    struct timespec used;
    CHECK_EQ(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
}

/* TSan's own thread wakes ten times a second. */
static const int64_t limit_ns = (TEST_TSAN || TEST_ASAN ? 100 : 5) * WEFT_MS;

struct waits {
    weft_chan(int) c;
    weft_mutex mutex;
    weft_waitgroup never, all;
};

static void wait_somehow(struct waits *waits, int how)
{
    switch (how) {
    case 0:
        weft_recv(waits->c, NULL);
        break;
    case 1:
        weft_lock(&waits->mutex);
        weft_unlock(&waits->mutex);
        break;
    case 2:
        weft_wg_wait(&waits->never);
        break;
    default:
        weft_select(weft_on_recv(waits->c, (int *)NULL), weft_on_timeout(60 * WEFT_MINUTE));
    }
}

static void start_waits(struct waits *waits)
{
    waits->c = weft_chan_make(int, 0);
    weft_lock(&waits->mutex);
    weft_wg_add(&waits->never, 1);
    for (int i = 0; i < PARKED; i++)
        weft_wg_go(&waits->all, wait_somehow, waits, i % 4);
}

static void end_waits(struct waits *waits)
{
    weft_close(waits->c);
    weft_unlock(&waits->mutex);
    weft_wg_done(&waits->never);
    weft_wg_wait(&waits->all);
    weft_chan_free(waits->c);
}

/* Until all wait; with TSan a goroutine's first run takes milliseconds, on a busy machine many. */
static void settle(void (*pause)(void))
{
    for (int64_t before_ns, i = 0; i < 300; i++) {
        before_ns = cpu_ns();
        pause();
        if (cpu_ns() - before_ns < WEFT_MS)
            break;
    }
}

static void nap(void)
{
    nap_ms(300);
}

static void sleep_a_little(void)
{
    weft_sleep(300 * WEFT_MS);
}

TEST(IdleWhileMainNaps)
{
    struct waits waits = {0};
    start_waits(&waits);
    settle(nap);
    int64_t before_ns = cpu_ns();
    nap_ms(IDLE_MS);
    int64_t used_ns = cpu_ns() - before_ns;
    printf("%d ms idle with %d parked goroutines: %.3f ms of CPU\n", IDLE_MS, PARKED, (double)used_ns / 1e6);
    CHECK(used_ns < limit_ns);
    CHECK_EQ(weft_count(), PARKED);
    end_waits(&waits);
}

static int sleep_as_main(void)
{
    struct waits waits = {0};
    start_waits(&waits);
    settle(sleep_a_little);
    int64_t before_ns = cpu_ns();
    weft_sleep(IDLE_MS * WEFT_MS);
    int64_t used_ns = cpu_ns() - before_ns;
    printf("%d ms asleep with %d parked goroutines: %.3f ms of CPU\n", IDLE_MS, PARKED, (double)used_ns / 1e6);
    CHECK(used_ns < limit_ns);
    end_waits(&waits);
    return 1;
}

TEST(IdleWhileTheMainGoroutineSleeps)
{
    CHECK_EQ(weft_run(sleep_as_main), 1);
}

/* Who wakes before its time waits for the rest awake: that must stay a small part. */
static int tick(void)
{
    int64_t before_ns = cpu_ns(), start_ns = weft_now();
    for (int i = 0; i < 500; i++) {
        int64_t due_ns = weft_now() + WEFT_MS;
        weft_sleep(WEFT_MS);
        CHECK(weft_now() >= due_ns);
    }
    int64_t used_ns = cpu_ns() - before_ns, took_ns = weft_now() - start_ns;
    printf("500 sleeps of 1 ms: %.3f ms of CPU in %.3f ms\n", (double)used_ns / 1e6, (double)took_ns / 1e6);
    CHECK(used_ns < took_ns / (TEST_TSAN || TEST_ASAN ? 1 : 3));
    return 1;
}

TEST(ShortSleepsCostLittle)
{
    CHECK_EQ(weft_run(tick), 1);
}

static void read_one(int fd)
{
    char byte;
    CHECK_EQ(read(fd, &byte, 1), 1);
}

/* Goroutines in a blocking call that nobody needs the workers of. */
TEST(IdleWhileGoroutinesRead)
{
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    weft_waitgroup wg = {0};
    for (int i = 0; i < 20; i++)
        weft_wg_go(&wg, read_one, ends[0]);
    settle(nap);
    int64_t before_ns = cpu_ns();
    nap_ms(IDLE_MS / 2);
    int64_t used_ns = cpu_ns() - before_ns;
    printf("%d ms idle with 20 goroutines in read: %.3f ms of CPU\n", IDLE_MS / 2, (double)used_ns / 1e6);
    CHECK(used_ns < limit_ns);
    CHECK_EQ(write(ends[1], "xxxxxxxxxxxxxxxxxxxx", 20), 20);
    weft_wg_wait(&wg);
    close(ends[0]);
    close(ends[1]);
}

TEST_MAIN()
