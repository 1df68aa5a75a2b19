/* What a program that found the installed weft does with it. */
#include <weft.h>

static void double_it(weft_chan(int) in, weft_chan(int) out)
{
    for (int n; weft_recv(in, &n);)
        weft_send(out, 2 * n);
    weft_close(out);
}

int main(void)
{
    weft_chan(int) in = weft_chan_make(int, 0);
    weft_chan(int) out = weft_chan_make(int, 0);
    weft_go(double_it, in, out);
    int answer = 0;
    weft_send(in, 21);
    weft_recv(out, &answer);
    weft_close(in);
    bool more = weft_recv(out, NULL);
    weft_chan_free(in);
    weft_chan_free(out);
    return answer == 42 && !more ? 0 : 1;
}
