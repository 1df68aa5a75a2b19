/* line.h — waiters in line, behind one pointer of a user's object: NULL when nobody waits. First come, first served; nobody
   leaves from the middle (queue.h is for those that may). A waiter is a struct on the waiting stack. The object's lock,
   whatever that is, covers the pointer and the waiters. */
#ifndef WI_LINE_H
#define WI_LINE_H

#include "sched/sched.h"

struct wi_in_line {
    struct wi_in_line *next; /* [lock] */
    struct wi_in_line *last; /* [lock] in the first one: the last one */
    struct wi_goroutine *g;  /* [const] */
};

static inline void wi_line_push_last(void **line, struct wi_in_line *w)
{
    struct wi_in_line *first = *line;
    w->next = NULL;
    if (first)
        first->last->next = w;
    else
        *line = first = w;
    first->last = w;
}

static inline void wi_line_push_first(void **line, struct wi_in_line *w)
{
    struct wi_in_line *first = *line;
    w->next = first;
    w->last = first ? first->last : w;
    *line = w;
}

/* Takes the first one off; there is one. */
static inline struct wi_in_line *wi_line_pop(void **line)
{
    struct wi_in_line *first = *line;
    if (first->next)
        first->next->last = first->last;
    *line = first->next;
    return first;
}

#endif
