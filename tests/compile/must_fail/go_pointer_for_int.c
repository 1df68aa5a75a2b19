/* weft_go with a pointer where the function takes an integer. */
#include <weft.h>

void work(long a);

void snippet(void);
void snippet(void)
{
    static long l;
#ifdef MISUSE
    weft_go(work, &l);
#else
    weft_go(work, l);
#endif
}
