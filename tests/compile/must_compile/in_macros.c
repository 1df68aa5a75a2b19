/* The macros inside other macros, inside each other, and in an inline function. */
/* Spread over lines on purpose: */
/* clang-format off */
#include <weft.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(x)                                                                                                            \
    do {                                                                                                                    \
        if (!(x)) {                                                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                                         \
            abort();                                                                                                        \
        }                                                                                                                   \
    } while (0)
#define TWICE(x) ((x) + (x))

void work(int a);
int app(int a);
void within_macros(weft_chan(int) c, weft_chan(char *) texts, int i);
inline void within_inline(int i);

void within_macros(weft_chan(int) c, weft_chan(char *) texts, int i)
{
    int into;
    char *text = NULL;

    assert(weft_send(c, 1) == 0);
    assert(weft_select([0] = weft_on_send(c, i),
                       [1] = weft_on_recv(texts, NULL)) == 0);
    CHECK(weft_send(c, weft_recv_status(c, &into)) == 0);
    CHECK(weft_try_go(work, weft_send(c, 1)) == weft_run(app, weft_run(app, 3)));
    CHECK(weft_recv(texts, &text) && text != NULL);
    CHECK(TWICE(weft_send(c, weft_send(c, weft_select(weft_on_recv(c, &into))))) == 0);
    CHECK(TWICE(weft_select([0] = weft_on_send(c, weft_select()),
                            [1] = weft_on_send(c, weft_send(c, 3)))) == 1);
    weft_go(work,
            weft_send(c,
                      weft_send(c, 1)));
    i ? weft_go(work, 1) : weft_go(work, 2);
}

inline void within_inline(int i)
{
    weft_go(work, i);
}
