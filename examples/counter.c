/* counter: a thousand goroutines share one counter, protected by a mutex.

   counter++ is a read, an addition and a write; two goroutines on two cores that do it at once lose counts. weft_lock lets
   one in at a time. A goroutine that has to wait for a weft_mutex gives its thread to the next goroutine meanwhile.

   weft_scoped_lock(&m) locks now and unlocks where the block ends, however it is left: by its end, by break, by return. */
#include <stdio.h>
#include <weft.h>

enum { GOROUTINES = 1000, INCREMENTS = 1000 };

struct counter {
    weft_mutex mutex; /* ready when zeroed; protects the fields below */
    long value;
    long even; /* how often the value was even after an increment */
};

static void count(struct counter *c)
{
    for (int i = 0; i < INCREMENTS; i++) {
        weft_scoped_lock(&c->mutex);
        c->value++;
        if (c->value % 2 != 0)
            continue; /* unlocks too */
        c->even++;
    }
}

int main(void)
{
    weft_waitgroup wg = {0};
    struct counter counter = {0};

    for (int i = 0; i < GOROUTINES; i++)
        weft_wg_go(&wg, count, &counter);
    weft_wg_wait(&wg);

    printf("%d goroutines counted to %d each\n", GOROUTINES, INCREMENTS);
    printf("together: %ld, even %ld times\n", counter.value, counter.even);
    return 0;
}
