/* weft_group_go with something else for a group. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static weft_group g;
    static weft_waitgroup wg;
#ifdef MISUSE
    weft_group_go(&wg, job);
#else
    weft_group_go(&g, job);
    weft_wg_wait(&wg);
#endif
}
