/* weft_go of a function with a parameter narrower than int (C23 cannot tell). */
/* standards: gnu11 gnu17 */
#include <weft.h>

void work(unsigned short a);
void plain(int a);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go(work, 1);
#else
    weft_go(plain, 1);
#endif
}
