/* weft_wg_go with a pointer to another type. */
#include <weft.h>

void work(int *p);

void snippet(void);
void snippet(void)
{
    static weft_waitgroup wg;
    static long l;
    static int i;
#ifdef MISUSE
    weft_wg_go(&wg, work, &l);
#else
    weft_wg_go(&wg, work, &i);
#endif
}
