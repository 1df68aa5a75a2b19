/* test_unwind.c — stacks of suspended contexts, of the calling thread and of interrupted functions, and how they print. */
#define _GNU_SOURCE
/* TSan reports malloc in signal handlers, and that is what is tested here: the code interrupted is not in malloc. */
#define TEST_TSAN_OPTIONS ":report_signal_unsafe=0"
#include "test.h"

#include "arch/context.h"
#include "arch/sanitizer.h"
#include "debug/unwind.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noinline))
#define STACK_SIZE (256 * 1024)
/* After a call: keeps it from being a tail call, and the frame pointer set. */
#define KEEP_FRAME() __asm__ volatile("" : : "r"(__builtin_frame_address(0)) : "memory")

static struct side {
    void *sp;
    struct wi_sanitizer_side sanitizer;
} home, other;
static char *stack;     /* other's */
static bool unfinished; /* other is suspended in innermost */
/* A macro, so that the switch is called by the function that uses it. */
#define SWITCH(from, to, dies)                                                                                              \
    (wi_sanitizer_before_switch(&(from).sanitizer, &(to).sanitizer, dies), wi_switch(&(from).sp, (to).sp),                  \
     wi_sanitizer_after_switch(&(from).sanitizer, &(to).sanitizer))

static int line_innermost, line_inlined, line_middle, line_outermost; /* of the calls in these functions */

static NOINLINE void innermost(void)
{
    KEEP_FRAME();
    line_innermost = __LINE__, SWITCH(other, home, false);
    KEEP_FRAME();
}

static inline __attribute__((always_inline)) void inlined(void)
{
    line_inlined = __LINE__, innermost();
    KEEP_FRAME();
}

static NOINLINE void middle(int depth)
{
    KEEP_FRAME();
    if (depth == 0)
        line_middle = __LINE__, inlined();
    else
        middle(depth - 1);
    KEEP_FRAME();
}

static void outermost(void *argument)
{
    wi_sanitizer_after_switch(&other.sanitizer, &home.sanitizer);
    KEEP_FRAME();
    line_outermost = __LINE__, middle(*(int *)argument);
    KEEP_FRAME();
    SWITCH(other, home, true);
    abort();
}

static void finish(void)
{
    SWITCH(home, other, false); /* out of its calls, to the end of outermost */
    unfinished = false;
}

static void suspend(int depth)
{
    static int how_deep;
    how_deep = depth;
    if (unfinished)
        finish();
    if (stack) {
        wi_sanitizer_stack_discard(&other.sanitizer);
        CHECK_EQ(munmap(stack, STACK_SIZE), 0);
    }
    stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    wi_sanitizer_stack_first_use(&other.sanitizer, stack, stack + STACK_SIZE);
    other.sp = wi_context_make(stack + STACK_SIZE, outermost, &how_deep);
    unfinished = true;
    SWITCH(home, other, false);
}

/* Red zones too. */
__attribute__((no_sanitize("address"))) static void copy_words(void *to, const void *from, size_t size)
{
    for (size_t i = 0; i < size / sizeof(uint64_t); i++)
        ((volatile uint64_t *)to)[i] = ((const volatile uint64_t *)from)[i];
}

/* Unwinds the suspended context from a copy, with its stack out of reach. */
static int unwind_copy(uintptr_t *pcs, int max)
{
    uintptr_t sp = (uintptr_t)other.sp, size = (uintptr_t)stack + STACK_SIZE - sp;
    char *copy = malloc(size);
    CHECK(copy != NULL);
    copy_words(copy, other.sp, size);
    CHECK_EQ(mprotect(stack, STACK_SIZE, PROT_NONE), 0);
    struct wi_registers registers;
    wi_registers_of_suspended(&registers, (const struct wi_saved *)(void *)copy, sp);
    int n = wi_unwind_stack(&registers, copy, sp, size, pcs, max);
    CHECK_EQ(mprotect(stack, STACK_SIZE, PROT_READ | PROT_WRITE), 0);
    free(copy);
    return n;
}

/* What wi_unwind_print writes. */
static const char *printed(const uintptr_t *pcs, int n, bool inside)
{
    static char text[16384];
    FILE *file = tmpfile();
    CHECK(file != NULL);
    int lines = wi_unwind_print(fileno(file), pcs, n, "    ", inside);
    CHECK(lines >= 0);
    ssize_t length = pread(fileno(file), text, sizeof text - 1, 0);
    CHECK(length >= 0 && length < (ssize_t)sizeof text - 1);
    text[length] = '\0';
    fclose(file);
    for (const char *c = text; *c; c = strchr(c, '\n') + 1, lines--)
        CHECK(strncmp(c, "    ", 4) == 0);
    CHECK_EQ(lines, 0);
    return text;
}

/* Skips a line "    function at .../test_unwind.c:line". */
static const char *expect_line(const char *text, const char *function, int line)
{
    char start[100], end[100];
    snprintf(start, sizeof start, "    %s at ", function);
    snprintf(end, sizeof end, "test_unwind.c:%d\n", line);
    const char *next = strchr(text, '\n');
    bool right = next && strncmp(text, start, strlen(start)) == 0 && next + 1 - text > (ptrdiff_t)strlen(end) &&
                 strncmp(next + 1 - strlen(end), end, strlen(end)) == 0;
    if (!right)
        fprintf(stderr, "expected %s%s, have:\n%s", start, end, text);
    CHECK(right);
    return next + 1;
}

/* Where the switch is inlined it has a line of its own. */
static const char *skip_switch(const char *text)
{
    bool inlined_switch = strncmp(text, "    wi_switch at ", 17) == 0;
#if defined(__x86_64__)
    CHECK(inlined_switch);
#endif
    return inlined_switch ? strchr(text, '\n') + 1 : text;
}

static bool without_libdw(void)
{
    bool without = !wi_unwind_has_libdw();
    if (without)
        printf("no libdw: skipped\n");
    return without;
}

TEST(suspended_context_prints_functions_and_lines)
{
    if (without_libdw())
        return;
    uintptr_t pcs[WI_UNWIND_MAX];
    suspend(3);
    int n = unwind_copy(pcs, WI_UNWIND_MAX);
    CHECK_EQ(n, 7);                           /* innermost, 4 of middle, outermost, wi_context_start */
    for (int round = 0; round < 2; round++) { /* the second time from memory */
        const char *text = skip_switch(printed(pcs, n, false));
        text = expect_line(text, "innermost", line_innermost);
        text = expect_line(text, "inlined", line_inlined);
        text = expect_line(text, "middle", line_middle);
        for (int i = 0; i < 3; i++)
            text = expect_line(text, "middle", line_middle + 2);
        text = expect_line(text, "outermost", line_outermost);
        CHECK_EQ(*text, '\0');
    }
}

TEST(a_context_unwinds_the_same_after_it_went_on)
{
    uintptr_t pcs[WI_UNWIND_MAX];
    suspend(1);
    finish();
    int n = unwind_copy(pcs, WI_UNWIND_MAX);
    if (wi_unwind_has_libdw()) {
        CHECK_EQ(n, 2);
        const char *text = skip_switch(printed(pcs, n, false));
        CHECK_EQ(*expect_line(text, "outermost", line_outermost + 2), '\0');
    }
    CHECK(n >= 1);
    CHECK(pcs[0] >= (uintptr_t)outermost && pcs[0] < (uintptr_t)outermost + 4096);
}

TEST(fewer_frames_than_there_are)
{
    uintptr_t pcs[WI_UNWIND_MAX] = {0};
    suspend(40);
    CHECK_EQ(unwind_copy(pcs, 5), 5);
    CHECK(pcs[4] != 0 && pcs[5] == 0);
}

TEST(frame_pointers_find_the_same_frames)
{
    uintptr_t pcs[WI_UNWIND_MAX], plain[WI_UNWIND_MAX];
    suspend(5);
    int n = unwind_copy(pcs, WI_UNWIND_MAX);
    wi_unwind_force_plain(true);
    CHECK(!wi_unwind_has_libdw());
    int m = unwind_copy(plain, WI_UNWIND_MAX);
    wi_unwind_force_plain(false);
    CHECK_EQ(m, 9); /* innermost, 6 of middle, outermost, wi_context_start */
    CHECK_EQ(n, m);
    for (int i = 0; i < n; i++)
        CHECK_EQ(pcs[i], plain[i]);
}

TEST(without_libdw_exported_functions_have_names)
{
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    CHECK(libc != NULL);
    uintptr_t pcs[] = {(uintptr_t)dlsym(libc, "qsort") + 3, (uintptr_t)&line_middle, 16};
    wi_unwind_force_plain(true);
    const char *text = printed(pcs, 3, false);
    wi_unwind_force_plain(false);
    CHECK(strncmp(text, "    qsort+0x3 (libc.so.6)\n", 26) == 0);
    const char *second = text + 26, *third = strchr(second, '\n') + 1;
    char program[300];
    snprintf(program, sizeof program, " (%s+0x", program_invocation_short_name);
    CHECK(strstr(second, program) != NULL);
    CHECK(strcmp(third, "    0x10\n") == 0);
}

/* ---- the calling thread ---- */

static uintptr_t own_pcs[WI_UNWIND_MAX];
static int own_n, line_own;

static NOINLINE void unwind_own(void)
{
    line_own = __LINE__, own_n = wi_unwind_here(NULL, own_pcs, WI_UNWIND_MAX);
    KEEP_FRAME();
}

TEST(the_calling_thread)
{
    unwind_own();
    int line = __LINE__ - 1;
    CHECK(own_n >= 3);
    if (without_libdw())
        return;
    const char *text = printed(own_pcs, own_n, true); /* without wi_unwind_here */
    text = expect_line(text, "unwind_own", line_own);
    text = expect_line(text, "test_body_of_the_calling_thread", line);
    CHECK(strstr(text, "    main at ") != NULL);
}

/* ---- signal handlers ---- */

static int line_trap;

static void on_trap(int number, siginfo_t *info, void *ucontext)
{
    (void)number, (void)info;
    struct wi_registers registers;
    wi_registers_of_signal(&registers, ucontext);
    own_n = wi_unwind_here(&registers, own_pcs, WI_UNWIND_MAX);
#if defined(__x86_64__)
    ((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP] += 2;
#else
    ((ucontext_t *)ucontext)->uc_mcontext.pc += 4;
#endif
}

static NOINLINE void trap(void)
{
    KEEP_FRAME();
#if defined(__x86_64__)
    line_trap = __LINE__, ({ __asm__ volatile("ud2" : : : "memory"); });
#else
    line_trap = __LINE__, ({ __asm__ volatile(".inst 0" : : : "memory"); });
#endif
    KEEP_FRAME();
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *))
{
    static char alternate[256 * 1024];
    stack_t on = {.ss_sp = alternate, .ss_size = sizeof alternate};
    CHECK_EQ(sigaltstack(&on, NULL), 0);
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND};
    CHECK_EQ(sigaction(number, &action, NULL), 0);
}

TEST(an_interrupted_function)
{
    handle(SIGILL, on_trap);
    trap();
    int line = __LINE__ - 1;
    CHECK(own_n >= 2);
    CHECK(own_pcs[0] >= (uintptr_t)trap && own_pcs[0] < (uintptr_t)trap + 4096);
    if (without_libdw())
        return;
    const char *text = printed(own_pcs, own_n, false);
    text = expect_line(text, "trap", line_trap);
    expect_line(text, "test_body_of_an_interrupted_function", line);
}

/* A crash inside the unwinder itself: a copy that cannot be read. */
static char *unreadable_copy;
static bool crash_reported;

static void on_crash(int number, siginfo_t *info, void *ucontext)
{
    (void)number, (void)info, (void)ucontext;
    uintptr_t pcs[WI_UNWIND_MAX];
    crash_reported = wi_unwind_here(NULL, pcs, WI_UNWIND_MAX) >= 1 && *printed(pcs, 1, false) && !wi_unwind_has_libdw();
    pid_t child = fork(); /* with the lock held */
    if (child == 0) {
        wi_unwind_forked();
        _exit(wi_unwind_has_libdw() && wi_unwind_here(NULL, pcs, WI_UNWIND_MAX) >= 3 && *printed(pcs, 3, false) ? 0 : 1);
    }
    int status;
    crash_reported = crash_reported && waitpid(child, &status, 0) == child && status == 0;
    mprotect(unreadable_copy, STACK_SIZE, PROT_READ);
}

TEST(a_crash_inside_the_unwinder_and_a_fork)
{
    if (without_libdw())
        return;
    suspend(2);
    unreadable_copy = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(unreadable_copy != MAP_FAILED);
    copy_words(unreadable_copy, stack, STACK_SIZE);
    struct wi_registers registers;
    uintptr_t sp = (uintptr_t)other.sp;
    wi_registers_of_suspended(&registers, (const struct wi_saved *)(void *)(unreadable_copy + (sp - (uintptr_t)stack)), sp);
    CHECK_EQ(mprotect(unreadable_copy, STACK_SIZE, PROT_NONE), 0);
    handle(SIGSEGV, on_crash);
    uintptr_t pcs[WI_UNWIND_MAX];
    CHECK_EQ(wi_unwind_stack(&registers, unreadable_copy, (uintptr_t)stack, STACK_SIZE, pcs, WI_UNWIND_MAX), 6);
    CHECK(crash_reported);
    munmap(unreadable_copy, STACK_SIZE);
}

/* ---- the rest ---- */

TEST(garbage_ends_the_stack)
{
    char junk[4096];
    for (int round = 0; round < test_scale(2000); round++) {
        for (size_t i = 0; i < sizeof junk; i += sizeof(uint64_t)) {
            uint64_t word = test_random();
            if (word & 1) /* near a function, or in the junk */
                word = word & 2 ? (uintptr_t)outermost + (word >> 8) % 4096 : 0x10000 + (word >> 8) % sizeof junk;
            memcpy(junk + i, &word, sizeof word);
        }
        struct wi_registers registers = {.pc = (uintptr_t)outermost + 20, .sp = 0x10000, .fp = 0x10010};
        uintptr_t pcs[WI_UNWIND_MAX];
        wi_unwind_force_plain(round % 4 == 0);
        int n = wi_unwind_stack(&registers, junk, 0x10000, sizeof junk, pcs, WI_UNWIND_MAX);
        CHECK(n >= 1 && n <= WI_UNWIND_MAX);
        CHECK_EQ(pcs[0], registers.pc);
    }
    wi_unwind_force_plain(false);
}

NOINLINE void wi_test_internal(void);
NOINLINE void wi_test_internal(void)
{
    own_n = wi_unwind_here(NULL, own_pcs, WI_UNWIND_MAX);
    KEEP_FRAME();
}

NOINLINE void weft_test_public(void);
static NOINLINE void between(void)
{
    wi_test_internal();
    KEEP_FRAME();
}
NOINLINE void weft_test_public(void)
{
    between();
    KEEP_FRAME();
}
static int line_user;
static NOINLINE void user(void)
{
    line_user = __LINE__, weft_test_public();
    KEEP_FRAME();
}
static NOINLINE void user_word(uintptr_t unused)
{
    (void)unused;
    user();
    KEEP_FRAME();
}

TEST(frames_of_weft_are_left_out)
{
    if (without_libdw())
        return;
    const uintptr_t words[6] = {0};
    wi_invoke((void (*)(void))user_word, words);
    const char *inside = printed(own_pcs, own_n, true);
    CHECK(strncmp(inside, "    weft_test_public at ", 24) == 0);
    const char *text = expect_line(strchr(inside, '\n') + 1, "user", line_user);
    CHECK(strncmp(text, "    user_word at ", 17) == 0);
    CHECK_EQ(strchr(text, '\n')[1], '\0'); /* the caller of wi_invoke started the goroutine */
    CHECK(strstr(printed(own_pcs, own_n, false), "    between at ") != NULL);
}

static void *unwind_often(void *unused)
{
    (void)unused;
    int devnull = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(devnull >= 0);
    for (int i = 0; i < test_scale(200); i++) {
        uintptr_t pcs[WI_UNWIND_MAX];
        int n = wi_unwind_here(NULL, pcs, WI_UNWIND_MAX);
        CHECK(n >= 1);
        CHECK(wi_unwind_print(devnull, pcs, n, "", false) >= 1);
    }
    close(devnull);
    return NULL;
}

TEST(many_threads_at_once)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, unwind_often, NULL), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
}

TEST(an_error_of_write)
{
    uintptr_t pc = (uintptr_t)outermost;
    CHECK_EQ(wi_unwind_print(-1, &pc, 1, "", false), -EBADF);
}

TEST_MAIN()
