/* weft_blocking of a variadic function. */
/* standards: gnu11 gnu17 */
#include <weft.h>

int work(int c, ...);
int job(int c);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_blocking(work, 1);
#else
    weft_blocking(job, 1);
#endif
}
