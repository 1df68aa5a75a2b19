/* weft_go with an integer where the function takes a pointer. */
#include <weft.h>

void work(long *p);

void snippet(void);
void snippet(void)
{
    static long l;
#ifdef MISUSE
    weft_go(work, l);
#else
    weft_go(work, &l);
#endif
}
