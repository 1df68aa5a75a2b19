/* A time received into another type than int64_t. */
#include <weft.h>

void snippet(weft_timer *timer);
void snippet(weft_timer *timer)
{
    int64_t at_ns;
    int i;
#ifdef MISUSE
    (void)at_ns;
    weft_recv(weft_timer_chan(timer), &i);
#else
    (void)i;
    weft_recv(weft_timer_chan(timer), &at_ns);
#endif
}
