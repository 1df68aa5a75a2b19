/* weft_group_try_go with too few arguments. */
#include <weft.h>

int job(int a, int b);

void snippet(void);
void snippet(void)
{
    static weft_group g;
#ifdef MISUSE
    weft_group_try_go(&g, job, 1);
#else
    weft_group_try_go(&g, job, 1, 2);
#endif
}
