/* weft_group_go with a pointer to another type. */
#include <weft.h>

int job(int *p);

void snippet(void);
void snippet(void)
{
    static weft_group g;
    static int i;
    static long l;
#ifdef MISUSE
    weft_group_go(&g, job, &l);
#else
    weft_group_go(&g, job, l ? &i : NULL);
#endif
}
