/* leak: a goroutine leak, the report that finds it, and the fix.

   Three goroutines ask for the same thing; the first answer wins and nobody waits for the others. With an unbuffered
   channel the two late ones then wait for ever to hand over their answers: a leak, as memory that is never freed. Nothing
   crashes; the program only grows. weft_leaks(fd) writes which goroutines are parked, where they were started and what
   they wait for. (Set WEFT_LEAKS=1 in the environment, and every program that uses weft does so when it exits.)

   The fix is room for every answer: each sender can put its answer down and leave. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <weft.h>

enum { MIRRORS = 3 };

static void ask(int mirror, weft_chan(int) answers)
{
    weft_send(answers, mirror); /* -EPIPE if the channel is closed meanwhile: then nobody wants the answer */
}

static void first_answer(weft_waitgroup *wg, weft_chan(int) answers)
{
    int mirror = 0;
    for (int i = 1; i <= MIRRORS; i++)
        weft_wg_go(wg, ask, i, answers);
    weft_recv(answers, &mirror);
    printf("an answer came%s\n", mirror >= 1 && mirror <= MIRRORS ? "" : " from nowhere");
}

/* Waits until n goroutines are stuck: the late ones may not have run yet. */
static void wait_until_stuck(int n)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    while (weft_leaks(nowhere) < n)
        weft_sleep(WEFT_MS);
    close(nowhere);
}

int main(void)
{
    weft_waitgroup wg = {0};
    setvbuf(stdout, NULL, _IONBF, 0); /* weft_leaks writes to the descriptor, beside stdio's buffer */

    puts("--- with a leak");
    weft_chan(int) answers = weft_chan_make(int, 0); /* wrong: no room for the late answers */
    first_answer(&wg, answers);
    wait_until_stuck(MIRRORS - 1);
    int leaked = weft_leaks(STDOUT_FILENO);
    printf("%d goroutines leaked\n", leaked);

    weft_close(answers); /* frees them: their sends give -EPIPE */
    weft_wg_wait(&wg);
    weft_chan_free(answers);

    puts("--- with the fix");
    answers = weft_chan_make(int, MIRRORS); /* right: room for every answer */
    first_answer(&wg, answers);
    weft_wg_wait(&wg);                  /* would never return with the leak */
    leaked = weft_leaks(STDOUT_FILENO); /* writes nothing */
    printf("%d goroutines leaked\n", leaked);
    weft_chan_free(answers);
    return 0;
}
