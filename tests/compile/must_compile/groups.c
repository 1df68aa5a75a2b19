/* Groups, futures, deferred calls and panics, in the ways a program uses them. */
#include <weft.h>
#include <assert.h>

struct point {
    int x, y;
};
enum colour { RED, GREEN };
typedef struct point *point_ref;

void nothing(void);
int nullary(void);
int unary(int a);
int six(int a, const char *b, long c, void *d, uint64_t e, struct point *f);
char gives_char(void);
bool gives_bool(int b);
short gives_short(int s);
long gives_long(long l);
uint64_t gives_u64(void);
enum colour gives_enum(void);
const char *gives_text(const char *text);
point_ref gives_ref(point_ref p);
void *gives_void(void *p);
weft_future(int) gives_future(weft_future(int) f);
WEFT_NORETURN_ void never(void);
int groups(weft_group *g, struct point *p, char **argv);
int futures(struct point *p);
int pass(weft_future(long) f, weft_future(struct point *) g);
void defers(struct point *p, int n);
int gives_up(const char *why);

static weft_group limited = WEFT_GROUP(8);

int groups(weft_group *g, struct point *p, char **argv)
{
    int (*pointer)(int) = unary;
    weft_group own = {0}, several[2] = {WEFT_GROUP(1), WEFT_GROUP(0)};
    weft_scoped_group(&own);
    weft_group_go(g, nullary);
    weft_group_go(&limited, unary, 3);
    weft_group_go(&own, pointer, 'c');
    weft_group_go(several, p ? unary : pointer, 3);
    if (weft_group_go(&several[1], six, 1, argv[0], 3, argv, UINT64_MAX, p) < 0 || weft_group_try_go(g, nullary) == -1)
        weft_group_cancel(g, -1);
    for (int i = 0; i < 3; i++) {
        weft_group inner = {0};
        weft_scoped_group(&inner);
        weft_scoped_group(&limited);
        assert(weft_group_try_go(&inner, six, i, "text", -1L, NULL, 5, (&(struct point){1, 2})) == 0);
    }
    if (weft_group_panic(g))
        weft_group_clear(g);
    if (p->x)
        weft_group_go(g, nullary);
    else
        weft_group_go(g, unary, weft_group_go(g, unary, 1) + weft_group_wait(g));
    return weft_ctx_err(weft_group_ctx(&own)) + weft_group_wait(&own);
}

int futures(struct point *p)
{
    char c;
    bool b;
    short s;
    int i = 0;
    long l;
    uint64_t u;
    enum colour e;
    const char *text;
    point_ref ref;
    struct point *same;
    void *v;
    char *panic;
    weft_future(int) f = weft_async(nullary), pair[2] = {weft_async(unary, 1), NULL};
    weft_future(struct point *) points = weft_async(gives_ref, p);
    int sum = weft_await(f, &i);
    sum += weft_await(weft_async(gives_char), &c) + weft_await(weft_async(gives_bool, 1), &b);
    sum += weft_await(weft_async(gives_short, 1), &s) + weft_await(weft_async(gives_long, i), &l);
    sum += weft_await(weft_async(gives_u64), &u) + weft_await(weft_async(gives_enum), &e);
    sum += weft_await(weft_async(gives_text, "text"), &text) + weft_await(points, &same);
    sum += weft_await(weft_async(gives_ref, p), &ref) + weft_await(weft_async(gives_void, p), &v);
    sum += weft_await(weft_async(gives_future, f), &pair[1]);
    sum += weft_await_panic(weft_async(six, 1, "text", 3, NULL, 5, p), &i, &panic);
    sum += weft_await(pair[0], NULL) + weft_await_panic(pair[1], NULL, &panic) + weft_await_panic(f, &i, NULL);
    while (!weft_future_ready(f))
        weft_yield();
    weft_future_free(f);
    weft_future_free(weft_async(unary, weft_await(weft_async(unary, 2), &i)));
    assert(weft_await(weft_async(nullary), NULL) == 0);
    if (!f || f == pair[0])
        f = weft_async(unary, -1);
    return sum + pass(weft_async(gives_long, 3L), points) + c + b + s + (int)e + same->x + *(int *)v +
           (text == (char *)ref) + (int)(l + (long)u);
}

void defers(struct point *p, int n)
{
    weft_defer(nothing);
    weft_defer(nullary);
    weft_defer(six, 1, "text", -1L, NULL, 5, p);
    weft_defer(gives_text, "text");
    weft_defer(never);
    for (int i = 0; i < n; i++)
        weft_defer(unary, i);
    if (n)
        weft_defer(gives_bool, n);
    else
        weft_defer(gives_enum);
    weft_exit_goroutine();
}

int gives_up(const char *why)
{
    weft_panic("%s: %d", why, 1);
}
