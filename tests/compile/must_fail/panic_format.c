/* weft_panic with a format that does not fit. */
#include <weft.h>

void snippet(void);
void snippet(void)
{
#pragma GCC diagnostic error "-Wformat"
#ifdef MISUSE
    weft_panic("%s", 1);
#else
    weft_panic("%d", 1);
#endif
}
