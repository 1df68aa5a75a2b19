/* weft_scoped_group of something else. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
    static weft_group g;
    static weft_mutex m;
#ifdef MISUSE
    weft_scoped_group(&m);
#else
    weft_scoped_group(&g);
    weft_scoped_lock(&m);
#endif
}
