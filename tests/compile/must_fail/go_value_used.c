/* weft_go has no value. */
#include <weft.h>

void work(void);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    int result = weft_go(work);
#else
    int result = weft_try_go(work);
#endif
}
