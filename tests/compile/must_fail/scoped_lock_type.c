/* weft_scoped_lock of something that is no mutex. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    static weft_mutex m;
    static weft_waitgroup wg;
#ifdef MISUSE
    weft_scoped_lock(&wg);
#else
    weft_scoped_lock(&m);
#endif
}
