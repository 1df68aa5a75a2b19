/* weft_wg_go with something else than a group. */
#include <weft.h>

void work(void);

void snippet(void);
void snippet(void)
{
    static weft_waitgroup wg;
    static int value;
#ifdef MISUSE
    weft_wg_go(&value, work);
#else
    weft_wg_go(&wg, work);
#endif
}
