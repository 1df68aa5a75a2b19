/* weft_try_go with a pointer to another type. */
#include <weft.h>

void work(int *p);

void snippet(void);
void snippet(void)
{
    static long l;
    static int i;
#ifdef MISUSE
    if (weft_try_go(work, &l) < 0)
        return;
#else
    if (weft_try_go(work, &i) < 0)
        return;
#endif
}
