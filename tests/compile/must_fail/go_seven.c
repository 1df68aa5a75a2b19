/* weft_go takes six arguments at most. */
#include <weft.h>

void work6(int a, int b, int c, int d, int e, int f);
void work7(int a, int b, int c, int d, int e, int f, int g);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go(work7, 1, 2, 3, 4, 5, 6, 7);
#else
    weft_go(work6, 1, 2, 3, 4, 5, 6);
#endif
}
