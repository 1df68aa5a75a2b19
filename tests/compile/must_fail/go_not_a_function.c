/* weft_go of something that is no function. */
#include <weft.h>

void work(void);

void snippet(void);
void snippet(void)
{
    static int value;
#ifdef MISUSE
    weft_go(value);
#else
    weft_go(work);
#endif
}
