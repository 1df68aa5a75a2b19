/* weft_group_go of a function that returns another type than int. */
#include <weft.h>

long work(void);
int job(void);

void snippet(void);
void snippet(void)
{
    static weft_group g;
#ifdef MISUSE
    weft_group_go(&g, work);
#else
    weft_group_go(&g, job);
#endif
}
