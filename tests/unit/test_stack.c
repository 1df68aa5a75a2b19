/* test_stack.c — stacks: geometry, guards by every method, what they cost, giving back, the limits.

   How guards are made is settled once a process. So the first process never touches a stack: every test is a child of it. */
#define _GNU_SOURCE
#include "../test.h"
#include "mem/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { MANY = 20000 };
static struct wi_stack *stacks[MANY];

/* ---- helpers ---- */

/* Takes n stacks, by as many as one call gives; returns how many it got before *error. */
static unsigned take(unsigned n, size_t size, int *error)
{
    unsigned got = 0;
    *error = 0;
    while (got < n) {
        struct wi_stack *list = wi_stack_take(size, n - got < 64 ? n - got : 64, error);
        if (!list)
            break;
        for (; list; list = list->next)
            stacks[got++] = list;
    }
    return got;
}

static void give(unsigned first, unsigned n)
{
    for (unsigned i = 0; i < n; i += 32) {
        unsigned end = i + 32 < n ? i + 32 : n;
        for (unsigned j = i; j < end; j++)
            stacks[first + j]->next = j + 1 < end ? stacks[first + j + 1] : NULL;
        wi_stack_give(stacks[first + i]);
    }
}

/* Whether the kernel finds memory there that can be read. */
static bool readable(const void *address)
{
    static int ends[2];
    char byte;
    if (test_on_valgrind()) { /* which would complain about the write */
        struct iovec to = {&byte, 1}, from = {(void *)address, 1};
        return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 1;
    }
    if (ends[1] == 0)
        CHECK_EQ(pipe(ends), 0);
    if (write(ends[1], address, 1) == 1)
        return read(ends[0], &byte, 1) == 1;
    CHECK_EQ(errno, EFAULT);
    return false;
}

static bool resident(const void *address)
{
    unsigned char present;
    size_t page = wi_os_page_size();
    CHECK_EQ(mincore((void *)((uintptr_t)address & -page), page, &present), 0);
    return present & 1;
}

static unsigned mappings(void)
{
    unsigned lines = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    CHECK(file);
    for (int c; (c = getc(file)) != EOF;)
        lines += c == '\n';
    fclose(file);
    return lines;
}

/* A line of /proc/self/status, in bytes. */
static size_t status_bytes(const char *name)
{
    char line[256];
    unsigned long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            kib = strtoul(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    return kib << 10;
}

/* Runs body in a child, with a variable set; it must succeed. Its standard error goes to text. */
static void run_apart(void (*body)(void), const char *variable, const char *value, char *text, size_t space)
{
    int ends[2], status;
    CHECK_EQ(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        if (variable)
            setenv(variable, value, 1);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        body();
        fflush(stdout);
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    char part[256];
    for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;)
        for (ssize_t i = 0; i < n && used < space - 1; i++)
            text[used++] = part[i];
    text[used] = '\0';
    close(ends[0]);
    CHECK_EQ(waitpid(child, &status, 0), child);
    if (status != 0)
        fprintf(stderr, "%s=%s: status %x\n%s", variable ? variable : "", value ? value : "", (unsigned)status, text);
    CHECK_EQ(status, 0);
}

/* A test whose body runs in a child. */
#define TEST_APART(name)                                                                                                    \
    static void apart_##name(void);                                                                                         \
    TEST(name)                                                                                                              \
    {                                                                                                                       \
        char text[4096];                                                                                                    \
        run_apart(apart_##name, NULL, NULL, text, sizeof text);                                                             \
        fputs(text, stderr);                                                                                                \
    }                                                                                                                       \
    static void apart_##name(void)

static unsigned occurrences(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* The signal that ends a child which writes to address; 0 when nothing does. */
static int signal_of_write(char *address)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)address = 1;
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* ---- geometry ---- */

static void check_geometry(size_t asked, size_t slot)
{
    int error;
    size_t guard = wi_stack_guard_size(), page = wi_os_page_size();
    if (slot < 2 * guard)
        slot = 2 * guard;
    CHECK_EQ(take(20, asked, &error), 20);
    for (int i = 0; i < 20; i++) {
        struct wi_stack *stack = stacks[i];
        char *top = wi_stack_top(stack), *low = stack->low;
        CHECK_EQ((size_t)1 << stack->size_class, slot);
        CHECK_EQ((uintptr_t)top % 64, 0);
        CHECK_EQ((uintptr_t)low % wi_os_page_size(), 0);
        CHECK((size_t)(top - low) <= slot + page - guard && (size_t)(top - low) >= slot + page - guard - 2048);
        CHECK((uintptr_t)top / page == ((uintptr_t)low - guard + slot) / page); /* in the top page */
        memset(low, i, slot < (size_t)1 << 20 ? (size_t)(top - low) : 4096);    /* overlaps would show */
        top[-1] = (char)i;
        bool in_guard;
        CHECK(wi_stack_find(top, &in_guard) == stack && !in_guard);
        CHECK(wi_stack_find(low, &in_guard) == stack && !in_guard);
        CHECK(wi_stack_find(low - 1, &in_guard) == stack && in_guard);
        CHECK(wi_stack_find(low - guard, &in_guard) == stack && in_guard);
        CHECK(wi_stack_find(low - guard - 1, &in_guard) != stack);
        CHECK(wi_stack_find(low - guard + slot + page, &in_guard) != stack);
    }
    for (int i = 0; i < 20; i++)
        CHECK(stacks[i]->low[0] == i && wi_stack_top(stacks[i])[-1] == i);
    give(0, 20);
    struct wi_stack *again = wi_stack_take(asked, 1, &error);
    CHECK(again && again == stacks[0]); /* the first of the list given last */
    wi_stack_give(again);
}

TEST_APART(geometry)
{
    int error = 0;
    check_geometry(0, WI_STACK_DEFAULT_SIZE);
    check_geometry(1, WI_STACK_MIN_SIZE);
    check_geometry(65536, WI_STACK_MIN_SIZE);
    check_geometry(65537, 131072);
    check_geometry(1000000, 1048576);
    check_geometry((size_t)48 << 20, (size_t)64 << 20);
    check_geometry(WI_STACK_MAX_SIZE, WI_STACK_MAX_SIZE);
    CHECK(wi_stack_take(WI_STACK_MAX_SIZE + 1, 1, &error) == NULL);
    CHECK_EQ(error, -EINVAL);
    CHECK(wi_stack_take(SIZE_MAX, 1, &error) == NULL);
    bool in_guard;
    CHECK(wi_stack_find(&error, &in_guard) == NULL && !in_guard);
    CHECK(wi_stack_find(NULL, &in_guard) == NULL);
    CHECK(wi_stack_find((void *)UINTPTR_MAX, &in_guard) == NULL);
    wi_stack_destroy();
}

static unsigned seen;

static void count_stack(struct wi_stack *stack, void *argument)
{
    CHECK(stack->low != NULL);
    ++*(unsigned *)argument;
}

TEST_APART(each_and_destroy)
{
    int error;
    CHECK_EQ(take(100, 0, &error), 100);
    size_t mapped = status_bytes("VmSize");
    give(0, 30);
    wi_stack_each(count_stack, &seen);
    CHECK_EQ(seen, 100);
    char *low = stacks[50]->low;
    wi_stack_destroy();
    bool in_guard;
    CHECK(wi_stack_find(low, &in_guard) == NULL);
    CHECK(!readable(low));
    CHECK(status_bytes("VmSize") + ((size_t)64 << 20) <= mapped + 4096);
    CHECK_EQ(take(100, 0, &error), 100);
    wi_stack_destroy();
}

/* ---- guards ---- */

TEST_APART(guards)
{
    int error;
    bool guarded = wi_os_guard_method() != WI_GUARD_NONE;
    CHECK_EQ(take(300, 0, &error), 300);
    size_t guard = wi_stack_guard_size();
    for (int i = 0; i < 300; i++) {
        for (size_t byte = 1; byte <= guard; byte += 4095)
            CHECK_EQ(readable(stacks[i]->low - byte), !guarded);
        CHECK(readable(stacks[i]->low));
    }
    for (int i = 0; i < 300; i += 99) {
        CHECK_EQ(signal_of_write(stacks[i]->low - 1), guarded ? SIGSEGV : 0);
        CHECK_EQ(signal_of_write(stacks[i]->low - guard), guarded ? SIGSEGV : 0);
        CHECK_EQ(signal_of_write(stacks[i]->low), 0);
    }
    CHECK_EQ(take(100, 1 << 20, &error), 100); /* a batch of another stride */
    for (int i = 0; i < 100; i++)
        CHECK(readable(stacks[i]->low) && readable(stacks[i]->low - 1) == !guarded);
    wi_stack_destroy();
}

static void apart_pages_go_back(void);

static void check_mprotect(void)
{
    CHECK_EQ(wi_os_guard_method(), WI_GUARD_MPROTECT);
    apart_guards();
    apart_pages_go_back();
}

static void check_none(void)
{
    CHECK_EQ(wi_os_guard_method(), WI_GUARD_NONE);
    apart_guards();
    apart_pages_go_back();
}

TEST(other_methods)
{
    char text[4096];
    run_apart(check_mprotect, "WEFT_GUARD", "mprotect", text, sizeof text);
    CHECK_EQ(occurrences(text, "weft:"), 0);
    run_apart(check_none, "WEFT_GUARD", "none", text, sizeof text);
    CHECK_EQ(occurrences(text, "weft:"), 0);
}

static void check_one_guard(void)
{
    int error;
    CHECK_EQ(take(1, 0, &error), 1);
    CHECK(readable(stacks[0]->low));
    CHECK_EQ(readable(stacks[0]->low - wi_stack_guard_size()), wi_os_guard_method() == WI_GUARD_NONE);
}

TEST(bad_values_are_reported_once)
{
    char text[4096];
    run_apart(check_one_guard, "WEFT_GUARD", "gaurd", text, sizeof text);
    CHECK_EQ(occurrences(text, "WEFT_GUARD=gaurd is ignored"), 1);
    static const char *const bad[] = {"5000", "0", "-4096", "4096x", "1073741824"};
    for (int i = 0; i < 5; i++) {
        run_apart(check_one_guard, "WEFT_GUARD_SIZE", bad[i], text, sizeof text);
        CHECK_EQ(occurrences(text, "WEFT_GUARD_SIZE="), 1);
    }
}

static void check_large_guard(void)
{
    int error;
    CHECK_EQ(wi_stack_guard_size(), 262144);
    CHECK_EQ(take(3, 0, &error), 3);
    CHECK_EQ(stacks[0]->size_class, 19); /* at least half of it can be used */
    CHECK(!readable(stacks[2]->low - 262144) || wi_os_guard_method() == WI_GUARD_NONE);
}

TEST(large_guard)
{
    char text[4096];
    run_apart(check_large_guard, "WEFT_GUARD_SIZE", "262144", text, sizeof text);
    CHECK_EQ(occurrences(text, "weft:"), 0);
}

/* mlockall after guards were made by madvise: the kernel refuses further ones, and mprotect takes over. */
static void check_locked(void)
{
    int error;
    CHECK_EQ(take(10, 0, &error), 10);
    if (mlockall(MCL_FUTURE) != 0) {
        fprintf(stderr, "not permitted: mlockall\n");
        return;
    }
    CHECK_EQ(take(300, 0, &error), 300); /* the rest of the first chunk, which is not locked, and a part of another one */
    for (int i = 0; i < 300; i++)
        CHECK(readable(stacks[i]->low) && readable(stacks[i]->low - 1) == (wi_os_guard_method() == WI_GUARD_NONE));
    CHECK(wi_os_guard_method() != WI_GUARD_MADVISE);
}

/* The same before. */
static void check_locked_early(void)
{
    int error;
    if (mlockall(MCL_FUTURE) != 0) {
        fprintf(stderr, "not permitted: mlockall\n");
        return;
    }
    CHECK_EQ(take(10, 0, &error), 10);
    CHECK(wi_os_guard_method() != WI_GUARD_MADVISE);
    for (int i = 0; i < 10; i++)
        CHECK(readable(stacks[i]->low) && readable(stacks[i]->low - 1) == (wi_os_guard_method() == WI_GUARD_NONE));
}

static void check_probe(void)
{
    fputs(wi_os_guard_method() == WI_GUARD_MADVISE ? "madvise" : "other", stderr);
}

TEST(locked_memory)
{
    if (TEST_ASAN || TEST_TSAN || test_on_valgrind())
        return; /* their shadow memory must not become resident */
    char text[4096], method[64];
    run_apart(check_probe, NULL, NULL, method, sizeof method);
    run_apart(check_locked, NULL, NULL, text, sizeof text);
    printf("%s", text);
    if (strcmp(method, "madvise") == 0)
        CHECK_EQ(occurrences(text, "mlockall"), 1);
    run_apart(check_locked_early, NULL, NULL, text, sizeof text);
    CHECK(occurrences(text, "mlockall") <= 1);
}

/* ---- cost, and giving back ---- */

TEST_APART(many_stacks_are_cheap)
{
    int error;
    unsigned many = (unsigned)test_scale(MANY);
    if (wi_os_guard_method() == WI_GUARD_MPROTECT)
        return;
    unsigned maps_before = mappings();
    size_t before = status_bytes("VmRSS") + status_bytes("VmPTE"), space = status_bytes("VmSize");
    memset(stacks, 1, sizeof stacks); /* resident before */
    CHECK_EQ(take(many, 0, &error), many);
    CHECK(mappings() < maps_before + 200);
    if (many >= 5000 && !TEST_ASAN && !TEST_TSAN && !test_on_valgrind()) { /* the kernel counts pages in batches */
        size_t each = (status_bytes("VmRSS") + status_bytes("VmPTE") - before - sizeof stacks) / many;
        printf("%zu bytes a stack\n", each);
        CHECK(each < 4096 + 600);
        CHECK(status_bytes("VmSize") - space < 2 * WI_STACK_DEFAULT_SIZE * many);
    }
    wi_stack_destroy();
}

TEST_APART(pages_go_back)
{
    int error;
    unsigned n = 4000, hot = 0, cold = 0;
    bool in_guard, guarded = wi_os_guard_method() != WI_GUARD_NONE;
    static char *lows[4000];
    CHECK_EQ(take(n, 0, &error), n);
    for (unsigned i = 0; i < n; i++) {
        lows[i] = stacks[i]->low;
        lows[i][0] = 1;
    }
    give(0, n / 2); /* no more than what is in use: all stays */
    for (unsigned i = 0; i < n / 2; i++)
        CHECK(resident(lows[i]) && wi_stack_find(lows[i], &in_guard) == stacks[i]);
    give(n / 2, n / 2);
    for (unsigned i = 0; i < n; i++) /* for a while all stays; then they are trimmed until few are left */
        CHECK(resident(lows[i]));
    unsigned looks = 0;
    for (int64_t now_ns = 0; (now_ns = wi_stack_trim(now_ns)) != INT64_MAX;)
        CHECK(++looks < 100);
    for (unsigned i = 0; i < n; i++) {
        bool held = wi_stack_find(lows[i], &in_guard) != NULL;
        CHECK_EQ(resident(lows[i]), held);
        CHECK_EQ(resident((char *)stacks[i]), held);
        CHECK_EQ(readable(lows[i] - 1), !guarded);
        CHECK_EQ(readable(lows[i] - wi_stack_guard_size()), !guarded);
        *(held ? &hot : &cold) += 1;
    }
    CHECK(hot >= 1024 && hot < 1024 + 64);
    seen = 0;
    wi_stack_each(count_stack, &seen);
    CHECK_EQ(seen, hot);
    size_t space = status_bytes("VmSize");
    CHECK_EQ(take(n, 0, &error), n); /* the same slots, hot and cold */
    for (unsigned i = 0; i < n; i++) {
        CHECK(wi_stack_find(stacks[i]->low, &in_guard) == stacks[i]);
        stacks[i]->low[0] = 2;
    }
    for (unsigned i = 0; i < n; i++)
        CHECK_EQ(lows[i][0], 2);
    CHECK(status_bytes("VmSize") - space < (size_t)1 << 20);
    wi_stack_destroy();
}

/* ---- limits ---- */

TEST_APART(address_space_runs_out)
{
    int error;
    size_t room = (size_t)100 << 20;
    struct rlimit limit, tight;
    CHECK(readable(stacks)); /* what the helpers need is there */
    CHECK_EQ(getrlimit(RLIMIT_AS, &limit), 0);
    tight = limit;
    tight.rlim_cur = status_bytes("VmSize") + room;
    CHECK_EQ(setrlimit(RLIMIT_AS, &tight), 0);
    char *large = wi_os_reserve(2 * room, 0);
    if (large) {
        printf("there are no limits here\n"); /* a user-mode emulator */
        return;
    }
    unsigned got = take(MANY, 0, &error);
    CHECK_EQ(error, -ENOMEM);
    CHECK(got * WI_STACK_DEFAULT_SIZE > room / 10 * 9); /* down to the last slot, whatever the sizes of chunks */
    error = 0;
    CHECK(wi_stack_take(0, 1, &error) == NULL && error == -ENOMEM);
    CHECK(wi_stack_take(16 << 20, 1, &error) == NULL && error == -ENOMEM);
    give(0, 10);
    CHECK_EQ(take(11, 0, &error), 10);
    CHECK_EQ(error, -ENOMEM);
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQ(take(1000, 0, &error), 1000);
    CHECK_EQ(take(2, 16 << 20, &error), 2);
}

static void check_mappings(void)
{
    int error;
    size_t most = wi_os_max_mappings() / 4;
    CHECK_EQ(wi_os_guard_method(), WI_GUARD_MPROTECT);
    for (int round = 0; round < 2; round++) { /* destroy gives the share back */
        CHECK_EQ(take(MANY, 0, &error), most);
        CHECK_EQ(error, -EAGAIN);
        CHECK(mappings() < wi_os_max_mappings() / 2 + 1000);
        CHECK(wi_stack_take(1 << 20, 1, &error) == NULL && error == -EAGAIN);
        give(0, 100);
        CHECK_EQ(take(101, 0, &error), 100);
        wi_stack_destroy();
    }
}

TEST(mappings_run_out)
{
    char text[4096];
    if (wi_os_max_mappings() / 4 < MANY && !TEST_TSAN && !test_on_valgrind())
        run_apart(check_mappings, "WEFT_GUARD", "mprotect", text, sizeof text);
}

TEST_APART(forked_child_starts_anew)
{
    int error, status;
    bool in_guard;
    CHECK_EQ(take(10, 0, &error), 10);
    stacks[3]->low[0] = 77;
    struct wi_stack *parents = stacks[3];
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        wi_stack_forget();
        CHECK(wi_stack_find(parents->low, &in_guard) == NULL);
        CHECK_EQ(parents->low[0], 77);
        CHECK_EQ(take(300, 0, &error), 300);
        for (int i = 0; i < 300; i++)
            CHECK(!readable(stacks[i]->low - 1) || wi_os_guard_method() == WI_GUARD_NONE);
        CHECK(!readable(parents->low - 1) || wi_os_guard_method() == WI_GUARD_NONE);
        wi_stack_destroy();
        CHECK_EQ(parents->low[0], 77);
        _exit(0);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    wi_stack_destroy();
}

/* ---- threads ---- */

static void *churn(void *argument)
{
    uint64_t me = (uint64_t)(uintptr_t)argument, random = me;
    struct wi_stack *mine[256];
    unsigned have = 0;
    for (int round = test_scale(20000); round > 0 || have > 0; round--) {
        unsigned n = (unsigned)(test_random_from(&random) % 64) + 1;
        int error;
        if (round > 0 && have + n <= 256 && test_random_from(&random) % 2) {
            size_t size = test_random_from(&random) % 4 == 0 ? WI_STACK_MIN_SIZE : 0;
            struct wi_stack *list = wi_stack_take(size, n, &error);
            CHECK(list);
            for (; list; list = list->next) {
                ((uint64_t *)wi_stack_top(list))[-1] = me;
                mine[have++] = list;
            }
            continue;
        }
        struct wi_stack *list = NULL;
        for (; n > 0 && have > 0; n--) {
            struct wi_stack *stack = mine[--have];
            bool in_guard;
            CHECK_EQ(((uint64_t *)wi_stack_top(stack))[-1], me); /* nobody else has it */
            CHECK(wi_stack_find(stack->low, &in_guard) == stack);
            stack->next = list;
            list = stack;
        }
        wi_stack_give(list);
    }
    return NULL;
}

TEST_APART(threads)
{
    int error;
    wi_os_membarrier_init();
    CHECK_EQ(take(3000, 0, &error), 3000);
    give(0, 3000); /* at the threshold, so that every round gives pages back */
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)(uintptr_t)(test_random() | 1)), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    wi_stack_destroy();
}

TEST_MAIN()
