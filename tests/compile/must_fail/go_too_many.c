/* weft_go with more arguments than the function takes. */
#include <weft.h>

void work(int a);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go(work, 1, 2);
#else
    weft_go(work, 1);
#endif
}
