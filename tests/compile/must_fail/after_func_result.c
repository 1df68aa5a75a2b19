/* weft_after_func of a function that returns something. */
#include <weft.h>

void work(int a);
int compute(int a);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_timer_free(weft_after_func(WEFT_MS, compute, 1));
#else
    weft_timer_free(weft_after_func(WEFT_MS, work, 1));
#endif
}
