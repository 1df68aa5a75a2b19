/* weft_defer with a pointer to another type. */
#include <weft.h>

void undo(int *p);

void snippet(void);
void snippet(void)
{
    static int i;
    static long l;
#ifdef MISUSE
    weft_defer(undo, &l);
#else
    weft_defer(undo, l ? &i : NULL);
#endif
}
