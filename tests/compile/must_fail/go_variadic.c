/* weft_go of a variadic function. */
/* standards: gnu11 gnu17 */
#include <weft.h>

void work(int a, ...);
void plain(int a, int b);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go(work, 1, 2);
#else
    weft_go(plain, 1, 2);
#endif
}
