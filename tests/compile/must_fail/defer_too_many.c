/* weft_defer with too many arguments. */
#include <weft.h>

void undo(int a);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_defer(undo, 1, 2);
#else
    weft_defer(undo, 1);
#endif
}
