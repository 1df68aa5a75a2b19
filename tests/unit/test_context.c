/* test_context.c — the switch, the first context of a stack, calls with words as arguments, and where unwinding stops.
   Every switch here is announced to the sanitizers as the scheduler does it, so that this also tests those hooks. */
#include "arch/context.h"
#include "arch/sanitizer.h"
#include "test.h"

#include <fenv.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unwind.h>

#define STACK_SIZE ((size_t)256 << 10)

struct side {
    void *sp;
    struct wi_sanitizer_side sanitizer;
    char *low; /* NULL for a thread's own stack */
};

static struct side home, other; /* the thread's own stack, and the one that most tests switch to */
/* gcc assumes that inlined assembly does not touch variables of which nobody took the address, whatever it clobbers: so
   these are volatile, and functions that switch hide it from their callers. */
#if defined(__clang__)
#define SWITCHES __attribute__((noinline))
#else
#define SWITCHES __attribute__((noinline, noipa))
#endif
static struct side *volatile came_from; /* set before every switch, for after_switch on the other side */
static struct side *volatile running = &home;

static void arrive(struct side *self)
{
    running = self;
    wi_sanitizer_after_switch(&self->sanitizer, &came_from->sanitizer);
}

SWITCHES static void go_to(struct side *to)
{
    struct side *from = running;
    came_from = from;
    wi_sanitizer_before_switch(&from->sanitizer, &to->sanitizer, false);
    wi_switch(&from->sp, to->sp);
    arrive(from);
}

SWITCHES _Noreturn static void die_to(struct side *to)
{
    struct side *from = running;
    came_from = from;
    wi_sanitizer_before_switch(&from->sanitizer, &to->sanitizer, true);
    wi_switch(&from->sp, to->sp);
    CHECK(!"a dead context went on");
    abort();
}

static void stack_open(struct side *side)
{
    side->low = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(side->low != MAP_FAILED);
    wi_sanitizer_stack_first_use(&side->sanitizer, side->low, side->low + STACK_SIZE);
}

static void stack_close(struct side *side)
{
    wi_sanitizer_stack_discard(&side->sanitizer);
    CHECK_EQ(munmap(side->low, STACK_SIZE), 0);
}

/* Runs body on a fresh stack until it returns. */
static void (*body_now)(void);

static void begin(void *argument)
{
    struct side *self = argument;
    arrive(self);
    body_now();
    die_to(&home);
}

static void start(struct side *side, void (*body)(void))
{
    body_now = body;
    side->sp = wi_context_make(side->low + STACK_SIZE, begin, side);
    go_to(side);
}

static void run(void (*body)(void))
{
    stack_open(&other);
    start(&other, body);
    stack_close(&other);
}

/* ---- switching ---- */

static volatile int rounds_done; /* volatile, as all that changes on the other side: see came_from */

static void ping_pong_body(void)
{
    volatile char kept[64]; /* contents of the stack survive */
    for (int i = 0; i < (int)sizeof kept; i++)
        kept[i] = (char)i;
    for (;;) {
        for (int i = 0; i < (int)sizeof kept; i++)
            CHECK_EQ(kept[i], (char)i);
        rounds_done++;
        go_to(&home);
    }
}

TEST(ping_pong)
{
    int rounds = test_scale(1000000);
    stack_open(&other);
    rounds_done = 0;
    start(&other, ping_pong_body);
    for (int i = 1; i < rounds; i++) {
        CHECK_EQ(rounds_done, i);
        go_to(&other);
    }
    CHECK_EQ(rounds_done, rounds);
    stack_close(&other);
}

static void check_entry_alignment(void)
{
    char text[64];
    double value = 0.1 + rounds_done; /* a call with a double stores vector registers with alignment */
    snprintf(text, sizeof text, "%.3f %p", value, (void *)text);
    struct {
        int x;
    } __attribute__((aligned(16))) aligned;
    CHECK_EQ((uintptr_t)&aligned % 16, 0);
    CHECK_EQ((uintptr_t)__builtin_frame_address(0) % 16, 0);
}

TEST(entry_has_an_aligned_stack)
{
    run(check_entry_alignment);
}

/* A stack is used by one context after another; the dying ones leave frames behind. */
__attribute__((noinline)) static void use_deeply(int depth)
{
    volatile char space[200];
    memset((char *)space, depth, sizeof space);
    if (depth > 0)
        use_deeply(depth - 1);
    CHECK_EQ(space[100], (char)depth);
    if (depth == 5 && rounds_done % 2)
        die_to(&home); /* with ASan, the red zones of the frames above stay in the shadow unless somebody clears them */
}

static void reuse_body(void)
{
    volatile char everything[8192]; /* covers what earlier frames left */
    memset((char *)everything, 1, sizeof everything);
    use_deeply(20);
}

TEST(stack_is_reused)
{
    stack_open(&other);
    int uses = test_scale(20000);
    for (rounds_done = 0; rounds_done < uses; rounds_done++) {
        if (rounds_done > 0)
            wi_sanitizer_stack_reuse(&other.sanitizer);
        start(&other, reuse_body);
    }
    stack_close(&other);
}

/* A context left on one thread goes on on another. */
static struct side *elsewhere; /* the other thread's own stack */

static void moving_body(void)
{
    char mark[32] = "still here";
    go_to(&home);
    CHECK_EQ(strcmp(mark, "still here"), 0);
    die_to(elsewhere);
}

static void *resume_here(void *argument)
{
    (void)argument;
    struct side thread_home = {0};
    elsewhere = &thread_home;
    running = &thread_home;
    go_to(&other);
    return NULL;
}

TEST(goes_on_on_another_thread)
{
    stack_open(&other);
    start(&other, moving_body);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, resume_here, NULL), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    running = &home;
    stack_close(&other);
}

/* ---- registers ---- */

#if defined(__x86_64__)
#define KEPT 5
/* The switch is inlined into this function, which keeps those callee-saved registers that the switch says it changes. */
__attribute__((noinline, used)) static void switch_called(void **save, void *load)
{
    wi_switch(save, load);
}

/* Loads the callee-saved registers from values, switches, and stores what they are afterwards. */
__attribute__((noinline)) static void switch_with(void **save, void *load, uint64_t values[KEPT])
{
    uint64_t *v = values;
    __asm__ volatile("movq %%rsp, %%r8\n\t"
                     "leaq -128(%%rsp), %%rsp\n\t" /* past the red zone of this function */
                     "andq $-16, %%rsp\n\t"
                     "pushq %%r8\n\t"
                     "pushq %%rbp\n\t"
                     "pushq %[v]\n\t"
                     "pushq %[v]\n\t" /* aligned for the call */
                     "movq %[save], %%rdi\n\t"
                     "movq %[load], %%rsi\n\t"
                     "movq %[v], %%rax\n\t"
                     "movq (%%rax), %%rbx\n\t"
                     "movq 8(%%rax), %%r12\n\t"
                     "movq 16(%%rax), %%r13\n\t"
                     "movq 24(%%rax), %%r14\n\t"
                     "movq 32(%%rax), %%r15\n\t"
                     "movq %%rax, %%rbp\n\t"
                     "callq %P[called]\n\t"
                     "popq %%rax\n\t"
                     "popq %%rax\n\t"
                     "cmpq %%rax, %%rbp\n\t"
                     "je 1f\n\t"
                     "ud2\n"
                     "1:\n\t"
                     "movq %%rbx, (%%rax)\n\t"
                     "movq %%r12, 8(%%rax)\n\t"
                     "movq %%r13, 16(%%rax)\n\t"
                     "movq %%r14, 24(%%rax)\n\t"
                     "movq %%r15, 32(%%rax)\n\t"
                     "popq %%rbp\n\t"
                     "popq %%rsp"
                     : [v] "+d"(v), [save] "+c"(save), [load] "+a"(load)
                     : [called] "i"(switch_called)
                     : "memory", "cc", "rsi", "rdi", "r8", "r9", "r10", "r11", "rbx", "r12", "r13", "r14", "r15", "xmm0",
                       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15");
}
#elif defined(__aarch64__)
#define KEPT 17
__attribute__((noinline)) static void switch_with(void **save, void *load, uint64_t values[KEPT])
{
    register uint64_t *v __asm__("x2") = values;
    register void **s __asm__("x0") = save;
    register void *l __asm__("x1") = load;
    __asm__ volatile("stp x29, x2, [sp, #-16]!\n\t"
                     "ldp x19, x20, [x2]\n\t"
                     "ldp x21, x22, [x2, #16]\n\t"
                     "ldp x23, x24, [x2, #32]\n\t"
                     "ldp x25, x26, [x2, #48]\n\t"
                     "ldp x27, x28, [x2, #64]\n\t"
                     "ldp d8, d9, [x2, #80]\n\t"
                     "ldp d10, d11, [x2, #96]\n\t"
                     "ldp d12, d13, [x2, #112]\n\t"
                     "ldr d14, [x2, #128]\n\t"
                     "bl wi_switch\n\t"
                     "ldp x29, x2, [sp], #16\n\t"
                     "stp x19, x20, [x2]\n\t"
                     "stp x21, x22, [x2, #16]\n\t"
                     "stp x23, x24, [x2, #32]\n\t"
                     "stp x25, x26, [x2, #48]\n\t"
                     "stp x27, x28, [x2, #64]\n\t"
                     "stp d8, d9, [x2, #80]\n\t"
                     "stp d10, d11, [x2, #96]\n\t"
                     "stp d12, d13, [x2, #112]\n\t"
                     "str d14, [x2, #128]"
                     : "+r"(v), "+r"(s), "+r"(l)
                     :
                     : "memory", "cc", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
                       "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30",
                       "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
                       "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
                       "v30", "v31");
}
#endif

SWITCHES static void go_to_with(struct side *to, uint64_t base)
{
    uint64_t values[KEPT];
    for (int i = 0; i < KEPT; i++)
        values[i] = base + (uint64_t)i;
    struct side *from = running;
    came_from = from;
    wi_sanitizer_before_switch(&from->sanitizer, &to->sanitizer, false);
    switch_with(&from->sp, to->sp, values);
    arrive(from);
    for (int i = 0; i < KEPT; i++)
        CHECK_EQ(values[i], base + (uint64_t)i);
}

static void registers_body(void)
{
    for (uint64_t i = 0; i < 3; i++)
        go_to_with(&home, 1000 * i + 500);
}

TEST(callee_saved_registers_are_kept)
{
    stack_open(&other);
    start(&other, registers_body);
    for (uint64_t i = 0; i < 3; i++)
        go_to_with(&other, 1000 * i);
    stack_close(&other);
}

/* ---- floating-point control ---- */

static void rounding_body(void)
{
    CHECK_EQ(fegetround(), FE_TONEAREST); /* not what wi_context_make's caller has just set */
    CHECK_EQ(fesetround(FE_DOWNWARD), 0);
    go_to(&home);
    CHECK_EQ(fegetround(), FE_DOWNWARD);
    go_to(&home);
    CHECK_EQ(fegetround(), FE_DOWNWARD);
    fesetround(FE_TONEAREST);
}

/* fesetround sets both MXCSR and the x87 control word, or FPCR; the arithmetic shows that it took effect. */
__attribute__((noinline)) static double third(void)
{
    volatile double one = 1, three = 3;
    volatile double result = one / three;
    return result;
}

__attribute__((noinline)) static long double long_third(void) /* x87 where there is one */
{
    volatile long double one = 1, three = 3;
    volatile long double result = one / three;
    return result;
}

TEST(rounding_mode_is_per_context)
{
    double nearest = third();
    CHECK_EQ(fesetround(FE_UPWARD), 0);
    double upward = third();
    long double long_upward = long_third();
    const bool emulated = test_on_valgrind(); /* which does not round as told */
    CHECK(upward > nearest || emulated);
    CHECK_EQ(fesetround(FE_TONEAREST), 0);
    stack_open(&other);
    CHECK_EQ(fesetround(FE_UPWARD), 0);
    start(&other, rounding_body);
    CHECK_EQ(fegetround(), FE_UPWARD);
    CHECK_EQ(fesetround(FE_TONEAREST), 0);
    CHECK(third() == nearest);
    fesetround(FE_UPWARD);
    go_to(&other);
    CHECK_EQ(fegetround(), FE_UPWARD);
    CHECK(third() == upward || emulated);
    CHECK(long_third() == long_upward || emulated);
    fesetround(FE_TONEAREST);
    go_to(&other);
    CHECK_EQ(fegetround(), FE_TONEAREST);
    CHECK(third() == nearest);
    stack_close(&other);
}

static void upward_body(void)
{
    CHECK_EQ(fegetround(), FE_UPWARD);
    CHECK_EQ(fesetround(FE_DOWNWARD), 0);
    wi_context_reset_float();
    CHECK_EQ(fegetround(), FE_UPWARD);
}

TEST(new_contexts_have_the_control_of_init)
{
    CHECK_EQ(fesetround(FE_UPWARD), 0);
    wi_context_init();
    CHECK_EQ(fesetround(FE_TONEAREST), 0);
    run(upward_body);
    CHECK_EQ(fegetround(), FE_TONEAREST);
    wi_context_init();
}

#if defined(__x86_64__)
static uint32_t mxcsr(void)
{
    uint32_t value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}

static void set_mxcsr(uint32_t value)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(value));
}

static uint16_t x87_control(void)
{
    uint16_t value;
    __asm__ volatile("fnstcw %0" : "=m"(value));
    return value;
}

static void set_x87_control(uint16_t value)
{
    __asm__ volatile("fldcw %0" : : "m"(value));
}

#define FLUSH_TO_ZERO 0x8000u
#define PRECISION 0x0300u

static void control_words_body(void)
{
    set_mxcsr(mxcsr() | FLUSH_TO_ZERO); /* only MXCSR differs now */
    go_to(&home);
    CHECK(mxcsr() & FLUSH_TO_ZERO);
    set_mxcsr(mxcsr() & ~FLUSH_TO_ZERO);
    set_x87_control((uint16_t)(x87_control() & ~PRECISION)); /* only the x87 word differs now */
    go_to(&home);
    CHECK_EQ(x87_control() & PRECISION, 0);
    CHECK(!(mxcsr() & FLUSH_TO_ZERO));
    set_mxcsr(mxcsr() | FLUSH_TO_ZERO); /* both */
    go_to(&home);
    CHECK_EQ(x87_control() & PRECISION, 0);
    CHECK(mxcsr() & FLUSH_TO_ZERO);
}

TEST(each_control_word_is_kept_alone_and_together)
{
    uint32_t my_mxcsr = mxcsr() & 0xffc0;
    uint16_t my_control = x87_control();
    CHECK(!(my_mxcsr & FLUSH_TO_ZERO) && (my_control & PRECISION) == PRECISION);
    if (test_on_valgrind())
        return; /* which keeps only the rounding mode */
    stack_open(&other);
    start(&other, control_words_body);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(mxcsr() & 0xffc0, my_mxcsr);
        CHECK_EQ(x87_control(), my_control);
        go_to(&other);
    }
    CHECK_EQ(mxcsr() & 0xffc0, my_mxcsr);
    CHECK_EQ(x87_control(), my_control);
    stack_close(&other);
}
#endif

/* ---- wi_invoke ---- */

static uintptr_t seen[6];
static volatile int calls;

static void take0(void)
{
    calls++;
}
static void take1(uintptr_t a)
{
    seen[0] = a, calls++;
}
static void take2(uintptr_t a, char *b)
{
    seen[0] = a, seen[1] = (uintptr_t)b, calls++;
}
static void take3(int a, long b, uintptr_t c)
{
    seen[0] = (uintptr_t)(intptr_t)a, seen[1] = (uintptr_t)b, seen[2] = c, calls++;
}
static void take4(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
    seen[0] = a, seen[1] = b, seen[2] = c, seen[3] = d, calls++;
}
static void take5(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e)
{
    take4(a, b, c, d);
    seen[4] = e;
}
static uint64_t take6(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f)
{
    take5(a, b, c, d, e);
    seen[5] = f;
    return UINT64_C(0x123456789abcdef0);
}
static int take_negative(int a)
{
    return a - 1;
}

static void invoke_body(void)
{
    uintptr_t words[6];
    void (*functions[7])(void) = {take0,
                                  (void (*)(void))take1,
                                  (void (*)(void))take2,
                                  (void (*)(void))take3,
                                  (void (*)(void))take4,
                                  (void (*)(void))take5,
                                  (void (*)(void))take6};
    for (int n = 0; n <= 6; n++) {
        for (int i = 0; i < 6; i++) {
            words[i] = (uintptr_t)(n * 100 + i + 1);
            seen[i] = 0;
        }
        calls = 0;
        uint64_t result = wi_invoke(functions[n], words);
        CHECK_EQ(calls, 1);
        for (int i = 0; i < 6; i++)
            CHECK_EQ(seen[i], i < n ? words[i] : 0);
        CHECK(n < 6 || result == UINT64_C(0x123456789abcdef0));
    }
    words[0] = (uintptr_t)-41;
    CHECK_EQ((int)wi_invoke((void (*)(void))take_negative, words), -42);
}

TEST(invoke_passes_up_to_six_words)
{
    invoke_body();
    run(invoke_body);
}

/* ---- unwinding ---- */

struct frames {
    int count;
    uintptr_t last_cfa;
    bool saw_begin;
};

static _Unwind_Reason_Code count_frame(struct _Unwind_Context *context, void *argument)
{
    struct frames *frames = argument;
    frames->last_cfa = (uintptr_t)_Unwind_GetCFA(context);
    frames->saw_begin |= _Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(context)) == (void *)(uintptr_t)begin;
    return ++frames->count > 100 ? _URC_NORMAL_STOP : _URC_NO_REASON;
}

static struct frames frames_seen;

static void unwind_here(void)
{
    frames_seen = (struct frames){0};
    CHECK_EQ(_Unwind_Backtrace(count_frame, &frames_seen), _URC_END_OF_STACK);
}

static void unwind_body(void)
{
    static const uintptr_t words[6];
    wi_invoke(unwind_here, words);
}

TEST(unwinding_stops_at_the_entry)
{
    stack_open(&other);
    start(&other, unwind_body);
    CHECK(frames_seen.count >= 4 && frames_seen.count <= 8); /* here, invoke, body, begin, context_start: nothing beyond */
    CHECK(frames_seen.saw_begin);
    CHECK(frames_seen.last_cfa <= (uintptr_t)other.low + STACK_SIZE);
    CHECK(frames_seen.last_cfa > (uintptr_t)other.low + STACK_SIZE - 1024);
    stack_close(&other);
}

/* The chain of frame pointers ends too, at a zero. */
static volatile int frame_pointers;

static void walk_frame_pointers(void)
{
    frame_pointers = 0;
    for (uintptr_t *frame = __builtin_frame_address(0); frame; frame = (uintptr_t *)frame[0]) {
        CHECK((char *)frame >= other.low && (char *)frame < other.low + STACK_SIZE);
        CHECK(++frame_pointers < 100);
    }
}

TEST(frame_pointers_end_at_the_entry)
{
    run(walk_frame_pointers);
    CHECK(frame_pointers >= 1);
}

/* What reaches wi_invoke does not return: it goes home and tells. */
static volatile int unwound = -1;
static volatile bool in_search_phase_intact;
static volatile bool cleaned;

void wi_invoke_unwound(int forced)
{
    unwound = forced;
    in_search_phase_intact = !cleaned;
    die_to(&home);
}

static void clean(int *unused)
{
    (void)unused;
    cleaned = true;
}

static struct _Unwind_Exception exception;

static void throw_one(void)
{
    __attribute__((cleanup(clean))) int guarded = 0;
    (void)guarded;
    memset(&exception, 0, sizeof exception);
    _Unwind_Reason_Code code = _Unwind_RaiseException(&exception);
    fprintf(stderr, "the exception was not raised: %d\n", (int)code);
    abort();
}

static void throw_body(void)
{
    static const uintptr_t words[6];
    cleaned = false;
    unwound = -1;
    wi_invoke(throw_one, words);
    CHECK(!"an exception became a return");
}

TEST(exception_stops_at_invoke_before_anything_is_unwound)
{
    run(throw_body);
    CHECK_EQ(unwound, 0);
    CHECK(in_search_phase_intact);
}

static _Unwind_Reason_Code keep_unwinding(int version, _Unwind_Action actions, _Unwind_Exception_Class exception_class,
                                          struct _Unwind_Exception *thrown, struct _Unwind_Context *context, void *argument)
{
    (void)version, (void)exception_class, (void)thrown, (void)context, (void)argument;
    CHECK(!(actions & _UA_END_OF_STACK)); /* it got past wi_invoke */
    return _URC_NO_REASON;
}

static void force_one(void)
{
    memset(&exception, 0, sizeof exception);
    _Unwind_ForcedUnwind(&exception, keep_unwinding, NULL);
    abort();
}

static void force_body(void)
{
    static const uintptr_t words[6];
    unwound = -1;
    wi_invoke(force_one, words);
    CHECK(!"forced unwinding became a return");
}

TEST(forced_unwinding_stops_at_invoke)
{
    run(force_body);
    CHECK_EQ(unwound, 1);
}

/* TSan itself refuses pthread_exit on a fiber, with a failed check of its own. */
#if !TEST_TSAN
static void exit_thread(void)
{
    pthread_exit(NULL);
}

static void exit_body(void)
{
    static const uintptr_t words[6];
    unwound = -1;
    wi_invoke(exit_thread, words);
    CHECK(!"pthread_exit became a return");
}

TEST(pthread_exit_stops_at_invoke)
{
    run(exit_body);
    CHECK_EQ(unwound, 1);
}
#endif

TEST_MAIN()
