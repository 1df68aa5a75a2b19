/* scope: goroutines that end with the block that started them.

   weft_scoped_group binds a group to a block: when the block is left — at its end, by return, break, a panic — the group's
   context is cancelled and all its goroutines are joined. None outlives the block, so they may use what the block has on its
   stack: no counting of references, no copies, nothing to free. */
#include <errno.h>
#include <stdio.h>
#include <weft.h>

enum { PARTS = 4, N = 1000000 };

/* ---- all are waited for ---- */

static int sum_part(const int *numbers, int n, long *sum)
{
    for (int i = 0; i < n; i++)
        *sum += numbers[i];
    return 0;
}

static long sum(const int *numbers, int n)
{
    long sums[PARTS] = {0}; /* on this stack, written by others */
    weft_group group = {0};
    weft_scoped_group(&group);

    for (int i = 0; i < PARTS; i++, numbers += n / PARTS)
        weft_group_go(&group, sum_part, numbers, n / PARTS, &sums[i]);
    if (weft_group_wait(&group) < 0)
        return -1; /* one could not be started; the others have ended all the same */

    long total = 0;
    for (int i = 0; i < PARTS; i++)
        total += sums[i];
    return total;
}

/* ---- the first answer is enough ---- */

struct search {
    long number;
    weft_chan(long) answers;
};

/* Looks for a divisor among first, first + step, ... until it found one or nobody wants to know any more. */
static int search_part(const struct search *search, long first, long step)
{
    for (long d = first, tried = 0; d * d <= search->number; d += step, tried++) {
        if (search->number % d == 0)
            return weft_send(search->answers, d);
        if (tried % 1000 == 0 && weft_ctx_err(weft_ctx_current()) != 0) /* a loop that never waits must look for itself */
            return -ECANCELED;
    }
    return 0;
}

/* A divisor of a number that has an odd one. */
static long first_answer(const struct search *search)
{
    weft_group group = {0};
    weft_scoped_group(&group);
    for (long i = 0; i < PARTS; i++)
        if (weft_group_go(&group, search_part, search, 3 + 2 * i, 2L * PARTS) < 0)
            return -1;
    long divisor = -1;
    weft_recv(search->answers, &divisor);
    return divisor; /* the others are told to stop, and have when this returns */
}

static long find_divisor(long number)
{
    const struct search search = {number, weft_chan_make(long, PARTS)};
    long divisor = search.answers ? first_answer(&search) : -1;
    weft_chan_free(search.answers);
    return divisor;
}

static int app(void)
{
    static int numbers[N];
    for (int i = 0; i < N; i++)
        numbers[i] = i + 1;
    printf("1 + 2 + ... + %d = %ld\n", N, sum(numbers, N));

    long number = 1000003L * 998244353L, divisor = find_divisor(number);
    printf("%ld = %ld * %ld\n", number, divisor, number / divisor);
    return 0;
}

int main(void)
{
    return weft_run(app);
}
