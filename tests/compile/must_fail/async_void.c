/* weft_async of a function that returns nothing. */
#include <weft.h>

void work(void);
int job(void);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_async(work);
#else
    weft_future_free(weft_async(job));
#endif
}
