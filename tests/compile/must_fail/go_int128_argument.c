/* weft_go with an argument wider than a word. */
#include <weft.h>

void work(long a);

void snippet(void);
void snippet(void)
{
    __extension__ __int128 value = 1;
#ifdef MISUSE
    weft_go(work, value);
#else
    weft_go(work, (long)value);
#endif
}
