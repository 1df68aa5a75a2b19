/* readme: ask five servers at once, and do without those that do not answer in time. The program in README.md. */
#include <stdio.h>
#include <weft.h>

enum { SERVERS = 5 };

struct answer {
    int server, load;
};

static void ask(int server, weft_chan(struct answer) answers)
{
    weft_sleep(server == 3 ? WEFT_MINUTE : 10 * WEFT_MS); /* stands for a request; server 3 is down */
    weft_send(answers, {.server = server, .load = 17 * (server + 1) % 100});
}

int main(void)
{
    weft_chan(struct answer) answers = weft_chan_make(struct answer, SERVERS);
    for (int server = 0; server < SERVERS; server++)
        weft_go(ask, server, answers); /* a goroutine each; checked like the call ask(server, answers) */

    int load[SERVERS] = {0};
    enum { ANSWER, LATE };
    for (int missing = SERVERS; missing > 0; missing--) {
        struct answer a;
        if (weft_select([ANSWER] = weft_on_recv(answers, &a), [LATE] = weft_on_timeout(2 * WEFT_SECOND)) == LATE)
            break;
        load[a.server] = a.load;
    }

    for (int server = 0; server < SERVERS; server++)
        if (load[server])
            printf("server %d: load %d %%\n", server, load[server]);
        else
            printf("server %d: no answer\n", server);
    return 0; /* ends the program, and with it the goroutine that still waits */
}
