/* errors_mutex: errors are kept in a shared variable under a mutex.

   The other way to get errors out of goroutines: all share one record of what went wrong. Every goroutine that fails locks
   it, counts its error, and keeps the first one. "First" is by the order of the work, not of the clock, so that the answer
   does not depend on who happened to run earlier. main waits for all by a WaitGroup and then looks. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <weft.h>

enum { STEPS = 20 };

struct failure {
    weft_mutex mutex; /* protects the fields below */
    int count;
    int step; /* the earliest step that failed */
    int error;
};

static int do_step(int step)
{
    weft_yield(); /* lets others run: makes the order a little more random */
    return step % 8 == 7 ? -ENOSPC : step % 6 == 5 ? -EIO : 0;
}

static void run_step(int step, struct failure *f)
{
    int error = do_step(step);
    if (error == 0)
        return;
    weft_scoped_lock(&f->mutex);
    if (f->count == 0 || step < f->step) {
        f->step = step;
        f->error = error;
    }
    f->count++;
}

int main(void)
{
    weft_waitgroup wg = {0};
    struct failure failure = {0};

    for (int step = 1; step <= STEPS; step++)
        weft_wg_go(&wg, run_step, step, &failure);
    weft_wg_wait(&wg);

    /* No lock: all goroutines have ended. */
    printf("%d of %d steps failed\n", failure.count, STEPS);
    if (failure.count > 0)
        printf("the first was step %d: %s\n", failure.step, strerror(-failure.error));
    return 0;
}
