/* weft_group_go of a function with a double parameter. */
#include <weft.h>

int work(double d);
int job(int d);

void snippet(void);
void snippet(void)
{
    static weft_group g;
#ifdef MISUSE
    weft_group_go(&g, work, 1);
#else
    weft_group_go(&g, job, 1);
#endif
}
