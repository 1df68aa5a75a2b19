/* weft_go with a double argument. */
#include <weft.h>

void work(int a);

void snippet(void);
void snippet(void)
{
    double value = 1;
#ifdef MISUSE
    weft_go(work, value);
#else
    weft_go(work, (int)value);
#endif
}
