/* process_stress.c — hundreds of programs at once: pipes in both directions, kills, and waits that race with both. At the
   end there is no child, no zombie and no descriptor left. */
#include "../workload.h"
#include <pthread.h>
#include <sys/resource.h>
#include <weft.h>

#include "../descriptors.h"
#include "../test.h"

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})
#define COMMAND(...) WEFT_COMMAND(.argv = ARGV(__VA_ARGS__), .input = WEFT_PIPE, .output = WEFT_PIPE, .errors = WEFT_PIPE)

enum { AT_ONCE = 500, DESCRIPTORS_EACH = 7 };

static int descriptors_before;

static void begin(void)
{
    weft_outcome outcome;
    CHECK_EQ(weft_exec(COMMAND("sleep", "0.03"), NULL, 0, &outcome), 0);
    weft_outcome_free(&outcome);
    descriptors_before = open_descriptors();
}

static void end(void)
{
    CHECK_EQ(open_descriptors(), descriptors_before);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG), -1);
    CHECK_EQ(weft_errno(), ECHILD);
}

/* As many as there are descriptors for. */
static int at_once(void)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    int most = (int)((limit.rlim_cur < 100000 ? limit.rlim_cur : 100000) - 100) / DESCRIPTORS_EACH;
    return most < AT_ONCE ? most : AT_ONCE;
}

/* ---- what one goroutine does with one program ---- */

static void converse(weft_process *p, int number, weft_waitgroup *all_run)
{
    CHECK_EQ(weft_process_start(p, COMMAND("cat")), 0);
    weft_wg_done(all_run);
    weft_wg_wait(all_run);
    char sent[32], got[32];
    for (int i = 0; i < 3; i++) {
        int n = snprintf(sent, sizeof sent, "%d of %d\n", i, number);
        CHECK_EQ(weft_write_all(p->input, sent, (size_t)n), n);
        CHECK_EQ(weft_read_full(p->output, got, (size_t)n), n);
        CHECK(memcmp(got, sent, (size_t)n) == 0);
    }
    CHECK_EQ(weft_close_fd(p->input), 0);
    p->input = -1;
    CHECK_EQ(weft_read(p->output, got, 1), 0);
    CHECK_EQ(weft_read(p->errors, got, 1), 0);
    int status = -1;
    CHECK_EQ(weft_process_wait(p, &status), 0);
    CHECK_EQ(status, 0);
    weft_process_close(p);
}

static void all_at_once(void)
{
    int n = at_once();
    n = test_scale(n) < 50 ? 50 : test_scale(n) < n ? test_scale(n) : n;
    begin();
    weft_process *p = calloc((size_t)n, sizeof *p);
    CHECK(p);
    weft_waitgroup wg = {0}, all_run = {0};
    weft_wg_add(&all_run, n);
    for (int i = 0; i < n; i++)
        weft_wg_go(&wg, converse, &p[i], i, &all_run);
    weft_wg_wait(&wg);
    free(p);
    end();
}

TEST_BOTH(all_run_at_once)
{
    all_at_once();
}

/* ---- kills and waits that race ---- */

struct victim {
    weft_process process;
    uint64_t random;
    _Atomic int killed, status_had;
};

static void kill_it(struct victim *v)
{
    weft_sleep((int64_t)(test_random_from(&v->random) % 3000) * WEFT_US);
    int error = weft_process_kill(&v->process, SIGKILL);
    CHECK(error == 0 || error == -ESRCH);
    atomic_fetch_add(&v->killed, error == 0);
}

static void wait_for_it(struct victim *v)
{
    int status = -1, error = weft_process_wait(&v->process, &status);
    CHECK(error == 0 || error == -ECHILD);
    if (error == 0) {
        atomic_fetch_add(&v->status_had, 1);
        CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0) || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    }
}

static void close_its_input(struct victim *v, uint64_t random)
{
    weft_sleep((int64_t)(random % 3000) * WEFT_US);
    CHECK_EQ(weft_close_fd(v->process.input), 0);
}

static void kill_wait_and_close(uint64_t random)
{
    struct victim v = {.random = random};
    CHECK_EQ(weft_process_start(&v.process, COMMAND("cat")), 0);
    weft_waitgroup wg = {0};
    weft_wg_go(&wg, kill_it, &v);
    weft_wg_go(&wg, wait_for_it, &v);
    weft_wg_go(&wg, wait_for_it, &v);
    weft_wg_go(&wg, close_its_input, &v, test_random_from(&random));
    weft_wg_wait(&wg);
    CHECK_EQ(atomic_load(&v.status_had), 1);
    CHECK_EQ(weft_process_kill(&v.process, 0), -ESRCH);
    v.process.input = -1;
    weft_process_close(&v.process);
}

TEST_BOTH(kills_and_waits)
{
    begin();
    for (int round = 0; round < 4; round++) {
        weft_waitgroup wg = {0};
        for (int i = 0; i < test_scale(100); i++)
            weft_wg_go(&wg, kill_wait_and_close, test_random());
        weft_wg_wait(&wg);
    }
    end();
}

/* ---- runs that their contexts end at any moment ---- */

static void run_for(int64_t ns, const char *input, size_t size, _Atomic int *in_time)
{
    weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_current(), ns);
    weft_scoped_ctx(ctx);
    weft_scoped_use(ctx);
    weft_outcome outcome;
    int error = weft_exec(COMMAND("sh", "-c", "cat; sleep 0.00$(($$ % 10))"), input, size, &outcome);
    CHECK(error == 0 || error == -ETIMEDOUT);
    CHECK(outcome.output_size <= size);
    CHECK(!outcome.output || memcmp(outcome.output, input, outcome.output_size) == 0);
    if (error == 0)
        CHECK(outcome.output_size == size && outcome.status == 0);
    atomic_fetch_add(in_time, error == 0);
    weft_outcome_free(&outcome);
}

TEST_BOTH(contexts_end_runs)
{
    static char input[200000];
    for (size_t i = 0; i < sizeof input; i++)
        input[i] = (char)('a' + i % 23);
    begin();
    _Atomic int in_time = 0;
    int n = test_scale(200);
    weft_waitgroup wg = {0};
    for (int i = 0; i < n; i++) {
        int64_t ns = i % 10 == 0 ? 100 * WEFT_SECOND : (int64_t)(test_random() % 100) * WEFT_MS;
        weft_wg_go(&wg, run_for, ns, input, sizeof input, &in_time);
        if (i % 20 == 19)
            weft_wg_wait(&wg);
    }
    weft_wg_wait(&wg);
    CHECK(atomic_load(&in_time) >= n / 10);
    end();
}

/* ---- goroutines and threads at the same time ---- */

static void *run_many(void *random)
{
    for (int i = 0; i < test_scale(40); i++) {
        char text[32];
        int n = snprintf(text, sizeof text, "%llu", (unsigned long long)test_random_from(random));
        weft_outcome outcome;
        CHECK_EQ(weft_exec(COMMAND("cat"), text, (size_t)n, &outcome), 0);
        CHECK_EQ(outcome.status, 0);
        CHECK_EQ(outcome.output_size, n);
        CHECK(memcmp(outcome.output, text, (size_t)n) == 0);
        weft_outcome_free(&outcome);
    }
    return NULL;
}

static void run_many_in_goroutine(uint64_t random)
{
    run_many(&random);
}

TEST(threads_and_goroutines)
{
    enum { THREADS = 4 };
    begin();
    pthread_t threads[THREADS];
    uint64_t random[THREADS];
    weft_waitgroup wg = {0};
    for (int i = 0; i < THREADS; i++) {
        random[i] = test_random();
        CHECK_EQ(pthread_create(&threads[i], NULL, run_many, &random[i]), 0);
        weft_wg_go(&wg, run_many_in_goroutine, test_random());
    }
    weft_wg_wait(&wg);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    end();
}

TEST_MAIN()
