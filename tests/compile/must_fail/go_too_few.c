/* weft_go with fewer arguments than the function takes. */
#include <weft.h>

void work(int a, int b);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go(work, 1);
#else
    weft_go(work, 1, 2);
#endif
}
