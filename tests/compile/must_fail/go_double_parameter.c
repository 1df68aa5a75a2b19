/* weft_go of a function with a double parameter. */
#include <weft.h>

void work(double a);
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
