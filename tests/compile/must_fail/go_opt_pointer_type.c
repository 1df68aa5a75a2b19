/* weft_go_opt with a pointer to another type. */
#include <weft.h>

void work(int *p);

void snippet(void);
void snippet(void)
{
    static long l;
    static int i;
#ifdef MISUSE
    weft_go_opt(WEFT_OPTIONS(.name = "work"), work, &l);
#else
    weft_go_opt(WEFT_OPTIONS(.name = "work"), work, &i);
#endif
}
