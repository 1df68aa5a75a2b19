/* weft_blocking of a function that returns a double. */
#include <weft.h>

double work(void);
int job(void);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_blocking(work);
#else
    weft_blocking(job);
#endif
}
