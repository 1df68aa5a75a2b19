/* weft_async of a function that returns more than a word. */
#include <weft.h>

__extension__ typedef __int128 wide;
wide work(void);
long job(void);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_future_core_free((void *)weft_async(work));
#else
    weft_future_core_free((void *)weft_async(job));
#endif
}
