/* weft_go with an argument for a function that takes none. */
#include <weft.h>

void work(void);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go(work, 1);
#else
    weft_go(work);
#endif
}
