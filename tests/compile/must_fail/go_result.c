/* weft_go of a function that returns a value. */
#include <weft.h>

int work(int a);
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
