/* weft_blocking of a function with a parameter narrower than int. */
/* standards: gnu11 gnu17 */
#include <weft.h>

int work(char c);
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
