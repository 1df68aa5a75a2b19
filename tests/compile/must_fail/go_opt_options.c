/* weft_go_opt with something else than options. */
#include <weft.h>

void work(void);

void snippet(void);
void snippet(void)
{
    static int value;
#ifdef MISUSE
    weft_go_opt(&value, work);
#else
    weft_go_opt(WEFT_OPTIONS(.name = "work"), work);
#endif
}
