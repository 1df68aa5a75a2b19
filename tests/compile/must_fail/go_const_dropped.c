/* weft_go that would drop a const. */
#include <weft.h>

void work(int *p);

void snippet(void);
void snippet(void)
{
    static const int constant = 1;
    static int i;
#ifdef MISUSE
    weft_go(work, &constant);
#else
    weft_go(work, &i);
#endif
}
