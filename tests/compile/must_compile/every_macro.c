/* Every macro, in the ways a program uses it. */
#include <weft.h>

struct point {
    int x, y;
};
struct empty {
    char nothing[1];
};
typedef void callback(int);

void nullary(void);
void unary(int a);
void six(int a, const char *b, long c, void *d, uint64_t e, struct point *f);
void on_point(struct point *p);
void on_channel(weft_chan(int) results, bool *done, callback *f);
int app(void);
int app_main(int argc, char **argv);
_Noreturn void forever(void);
void goroutines(struct point *p, char **argv, bool *done, callback *f);
int channels(weft_chan(int) ints, weft_chan(struct point) points, weft_chan(const char *) texts);
int selects(weft_chan(int) ints, weft_chan(struct point) points, weft_chan(const char *) texts);
int locks(weft_mutex *m, int *shared);
void by_time(void);
int signals(weft_chan(int) ints, int signo);
int programs(char **argv);
void declared(void);

void goroutines(struct point *p, char **argv, bool *done, callback *f)
{
    weft_waitgroup wg = {0};
    void (*pointer)(int) = unary;
    weft_chan(int) results = weft_chan_make(int, 0);
    short narrow = -1;

    weft_go(nullary);
    weft_go(unary, 3);
    weft_go(unary, narrow);
    weft_go(unary, 'c');
    weft_go(unary, *done);
    weft_go(pointer, 3);
    weft_go(*pointer, 3);
    weft_go(p ? unary : pointer, 3);
    weft_go(forever);
    weft_go(six, 1, "text", -1L, NULL, 5, p);
    weft_go(six, 1, argv[0], 3, argv, UINT64_MAX, (&(struct point){1, 2}));
    weft_go(on_channel, results, done, f);
    if (weft_try_go(nullary) < 0 || weft_try_go(unary, 1) < 0)
        return;
    weft_go_opt(WEFT_OPTIONS(), nullary);
    weft_go_opt(WEFT_OPTIONS(.name = "reader", .stack_size = 1 << 20), unary, 2);
    weft_go_opt(NULL, unary, 2);
    weft_go_with(on_point, (struct point){1, 2});
    weft_go_with(on_point, *p);
    weft_wg_go(&wg, nullary);
    weft_wg_go(&wg, on_point, p);
    if (*done)
        weft_go(nullary);
    else
        weft_go(unary, weft_run(app) + weft_run(app_main, 1, argv));
    weft_wg_wait(&wg);
}

int channels(weft_chan(int) ints, weft_chan(struct point) points, weft_chan(const char *) texts)
{
    weft_chan(int) more = weft_chan_ref(ints);
    weft_chan(int[4]) arrays = weft_chan_make(int[4], 2);
    weft_chan(callback *) calls = weft_chan_make(callback *, 0);
    weft_chan(weft_chan(int)) replies = weft_chan_make(weft_chan(int), 0);
    weft_chan(struct empty) signals = weft_chan_make(struct empty, 0);
    weft_chan(void *) pointers = weft_chan_make(void *, 0);
    struct point p = {1, 2};
    const char *text;
    int array[4];
    void *pointer;
    int sum = 0;

    weft_send(ints, 1);
    sum += weft_send(points, (struct point){1, 2}) + weft_send(points, p);
    weft_send(texts, "text");
    weft_send(arrays, {1, 2, 3, 4});
    weft_send(calls, unary);
    weft_send(replies, ints);
    weft_send(signals, (struct empty){{0}});
    weft_send(pointers, &p);
    for (int i; weft_recv(ints, &i);)
        sum += i;
    while (weft_recv(texts, &text) && *text)
        sum++;
    weft_recv(arrays, &array);
    weft_recv(replies, &more);
    weft_recv(points, NULL);
    weft_recv(pointers, &pointer);
    if (weft_recv_status(points, &p) < 0 || weft_recv_status(points, NULL) < 0)
        sum++;
    sum += weft_try_send(ints, 5) + weft_try_recv(ints, &sum) + weft_try_recv(ints, NULL);
    sum += weft_send(ints, weft_send(ints, weft_try_send(ints, 1)));
    sum += (int)weft_chan_len(ints) + (int)weft_chan_cap(ints) + p.x + array[0];
    weft_close(ints);
    weft_chan_free(ints), weft_chan_free(more), weft_chan_free(arrays), weft_chan_free(calls);
    weft_chan_free(replies), weft_chan_free(signals), weft_chan_free(pointers);
    return sum;
}

int selects(weft_chan(int) ints, weft_chan(struct point) points, weft_chan(const char *) texts)
{
    enum { INT, POINT, TEXT, DROP, LATE = 9 };
    int i = 0;
    bool ok;
    struct point p = {1, 2};

    switch (weft_select([INT] = weft_on_recv(ints, &i), [POINT] = weft_on_recv(points, &p, &ok),
                        [TEXT] = weft_on_send(texts, "text"), [DROP] = weft_on_recv(ints, NULL),
                        [LATE] = weft_on_timeout(3 * WEFT_MS))) {
    case INT:
        return ok;
    case LATE:
        return p.x;
    default:
        break;
    }
    while (weft_try_select(weft_on_recv(ints, &i), weft_on_send(points, (struct point){i, i}), weft_on_send(points, p)) >= 0)
        i++;
    if (weft_try_select(weft_on_send(ints, i++), weft_on_send(ints, weft_try_send(ints, 1))) == 0)
        return i;
    return weft_select();
}

int locks(weft_mutex *m, int *shared)
{
    weft_scoped_lock(m);
    {
        weft_mutex inner = {0};
        weft_mutex several[2] = {{0}};
        weft_scoped_lock(&inner);
        weft_scoped_lock(several);
        if (weft_try_lock(&several[1]))
            weft_unlock(&several[1]);
    }
    return ++*shared;
}

void by_time(void)
{
    int64_t at_ns;
    weft_timer *timer = weft_timer_make(WEFT_MS), *call = weft_after_func(WEFT_MS, declared);
    weft_ticker *ticker = weft_ticker_make(WEFT_MS);
    weft_chan(int64_t) after = weft_after(WEFT_MS);
    if (!weft_recv(weft_timer_chan(timer), &at_ns) || weft_chan_len(weft_ticker_chan(ticker)) > 1)
        return;
    if (weft_select(weft_on_recv(after, &at_ns), weft_on_recv(weft_ticker_chan(ticker), NULL)) < 0)
        return;
    if (weft_timer_stop(call) || weft_timer_reset(timer, 0))
        weft_ticker_reset(ticker, WEFT_SECOND);
    weft_ticker_stop(ticker);
    weft_ticker_free(ticker);
    weft_timer_free(timer);
    weft_timer_free(call);
    weft_chan_free(after);
}

void declared(void)
{
    weft_yield();
    if (weft_sleep(WEFT_NS + WEFT_US + WEFT_MS + WEFT_SECOND + WEFT_MINUTE) < 0 || weft_now() < 0 || weft_procs() < 1)
        return;
    if (weft_name("name") < 0 || weft_id() == 0 || weft_count() == 0 || weft_errno() != 0)
        return;
    weft_pin();
    weft_unpin();
    if (weft_dump(2) + weft_leaks(2) + weft_shutdown(WEFT_SECOND) < 0)
        return;
}

int signals(weft_chan(int) ints, int signo)
{
    int error = weft_signal_notify(ints) + weft_signal_notify(ints, signo) + weft_signal_notify(ints, 1, 2, signo + 1);
    weft_signal_stop(ints);
    if (weft_signal_ignore(13) != 0 || weft_signal_ignore() != 0)
        return weft_signal_reset();
    return error + weft_signal_reset(13, signo);
}

int programs(char **argv)
{
    char echo[] = "echo", *words[] = {echo, NULL};
    weft_process p;
    weft_outcome outcome;
    int error = weft_process_start(&p, WEFT_COMMAND(.argv = argv));
    const weft_command *command =
        WEFT_COMMAND(.argv = words, .input = WEFT_NULL, .output = WEFT_PIPE, .errors = WEFT_OUTPUT);
    return error + weft_exec(command, NULL, 0, &outcome) + weft_exec(WEFT_COMMAND(), "", 0, &outcome);
}
