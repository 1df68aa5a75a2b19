/* errors_channel: errors come back through a channel.

   A goroutine's function returns void, so it says how it went by sending a value. Here each one sends a struct with the
   number of its task and either a result or an error; errors are negative errno values, as everywhere in weft. main
   receives exactly as many as it started, and so knows that all are done. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weft.h>

struct outcome {
    int task;
    int error; /* 0, or a negative errno */
    long value;
};

/* Reads a whole decimal number. 0, -EINVAL or -ERANGE. */
static int parse(const char *text, long *value)
{
    char *end;
    errno = 0;
    *value = strtol(text, &end, 10);
    if (errno != 0)
        return -errno;
    return end == text || *end != '\0' ? -EINVAL : 0;
}

static void task(int number, const char *text, weft_chan(struct outcome) outcomes)
{
    long value = 0;
    int error = parse(text, &value);
    weft_send(outcomes, {.task = number, .error = error, .value = value});
}

int main(void)
{
    static const char *const texts[] = {"17", "-4", "seven", "1000000", "99999999999999999999", ""};
    enum { N = sizeof texts / sizeof *texts };

    /* Room for all: no goroutine would be stuck even if main gave up early. */
    weft_chan(struct outcome) outcomes = weft_chan_make(struct outcome, N);
    for (int i = 0; i < N; i++)
        weft_go(task, i, texts[i], outcomes);

    struct outcome by_task[N];
    int failures = 0;
    for (int i = 0; i < N; i++) {
        struct outcome o;
        weft_recv(outcomes, &o);
        by_task[o.task] = o;
        failures += o.error != 0;
    }

    for (int i = 0; i < N; i++) {
        if (by_task[i].error == 0)
            printf("\"%s\" is %ld\n", texts[i], by_task[i].value);
        else
            printf("\"%s\": %s\n", texts[i], strerror(-by_task[i].error));
    }
    printf("%d of %d failed\n", failures, N);
    weft_chan_free(outcomes);
    return 0;
}
