/* weft_after_func with an argument of another type than its function takes. */
#include <weft.h>

void work(int *p);

void snippet(void);
void snippet(void)
{
    int i;
    long l;
#ifdef MISUSE
    (void)i;
    weft_timer_free(weft_after_func(WEFT_MS, work, &l));
#else
    (void)l;
    weft_timer_free(weft_after_func(WEFT_MS, work, &i));
#endif
}
