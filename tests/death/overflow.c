/* overflow.c — a goroutine that runs over the end of its stack is reported by name, size and the line that started it, with
   either kind of guard; other faults stay the program's. */
#include "death.h"
#include <sys/mman.h>

static volatile int depth;

static __attribute__((noinline)) int recurse(int n)
{
    volatile char frame[1024];
    frame[0] = (char)n;
    depth = n;
    int result = n < 0 ? 0 : recurse(n + 1);
    return result + frame[0];
}

static void fall(void)
{
    depth = recurse(0);
}

static int fall_as_main(void)
{
    weft_yield();
    return recurse(0);
}

static void yield_for_ever(void)
{
    for (;;)
        weft_yield();
}

static void fall_alone(void)
{
    weft_go(fall);
    nap_ms(20000);
}

/* Its stack was used by others before, and others run beside it. */
static void fall_among_others(void)
{
    weft_waitgroup wg = {0};
    for (int i = 0; i < 200; i++)
        weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    weft_go(yield_for_ever);
    weft_go(yield_for_ever);
    weft_go(fall);
    nap_ms(20000);
}

static void fall_off_1_mib(void)
{
    weft_go_opt(WEFT_OPTIONS(.stack_size = 1 << 20), fall);
    nap_ms(20000);
}

static void fall_under_run(void)
{
    weft_run(fall_as_main);
}

static void expect_overflow(void (*fn)(void), char *environment, const char *who, const char *size)
{
    death_expect_abort(fn, environment, "overflowed its ");
    death_expect_text("goroutine ");
    death_expect_text(who);
    death_expect_text("overflow.c:");
    death_expect_text(size);
}

static void check_all(char *environment)
{
    expect_overflow(fall_alone, environment, "(fall, ", " 256 KiB stack");
    expect_overflow(fall_among_others, environment, "(fall, ", " 256 KiB stack");
    expect_overflow(fall_under_run, environment, "(fall_as_main, ", " 256 KiB stack");
    expect_overflow(fall_off_1_mib, environment, "(fall, ", " 1024 KiB stack");
}

TEST(OverflowWithTheDefaultGuard)
{
    check_all(NULL);
}

TEST(OverflowWithMprotectGuards)
{
    check_all("WEFT_GUARD=mprotect");
}

/* User-mode emulators accept the advice and install nothing, so only a write(2) from the page tells. */
static bool kernel_has_guards(void)
{
    enum { ADVICE_GUARD_INSTALL = 102 };
    int ends[2];
    CHECK_EQ(pipe(ends), 0);
    void *page = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    bool works = madvise(page, 65536, ADVICE_GUARD_INSTALL) == 0 && write(ends[1], page, 1) < 0 && errno == EFAULT;
    munmap(page, 65536);
    close(ends[0]);
    close(ends[1]);
    return works;
}

TEST(OverflowWithMadviseGuards)
{
    if (kernel_has_guards())
        check_all("WEFT_GUARD=madvise");
    else
        printf("skipped: this kernel has no MADV_GUARD_INSTALL\n");
}

/* ---- faults that are none of weft's business ---- */

static int *volatile nowhere = (int *)8; /* not NULL, which UBSan would see */

static void fault(void)
{
    weft_yield();
    *nowhere = 1;
}

static void exit_7(int signal)
{
    (void)signal;
    _exit(7);
}

static void fault_with_handler(void)
{
    struct sigaction action = {.sa_handler = exit_7};
    sigaction(SIGSEGV, &action, NULL);
    weft_go(fault);
    nap_ms(20000);
}

static void fault_with_late_handler(void)
{
    struct sigaction action = {.sa_handler = exit_7, .sa_flags = SA_ONSTACK};
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    sigaction(SIGSEGV, &action, NULL);
    weft_go(fault);
    nap_ms(20000);
}

static void fault_alone(void)
{
    weft_go(fault);
    nap_ms(20000);
}

static void fault_on_main_thread(void)
{
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, weft_yield);
    weft_wg_wait(&wg);
    *nowhere = 1;
}

TEST(OtherFaultsAreTheProgramsOwn)
{
    death_expect_exit(fault_with_handler, NULL, 7);
    death_expect_exit(fault_with_late_handler, NULL, 7);
    if (!TEST_ASAN && !TEST_TSAN) { /* the sanitizers report and exit */
        death_run(fault_alone, NULL);
        if (!WIFSIGNALED(death.status) || WTERMSIG(death.status) != SIGSEGV)
            death_unexpected("SIGSEGV");
        death_run(fault_on_main_thread, NULL);
        if (!WIFSIGNALED(death.status) || WTERMSIG(death.status) != SIGSEGV)
            death_unexpected("SIGSEGV");
    }
    if (strstr(death.text, "overflowed"))
        death_unexpected("no word about a stack");
}

TEST_MAIN()
