/* weft_go with a pointer to another type. */
#include <weft.h>

void work(int *p);

void snippet(void);
void snippet(void)
{
    static long l;
    static int i;
#ifdef MISUSE
    weft_go(work, &l);
#else
    weft_go(work, &i);
#endif
}
