/* weft_async of a function with a parameter narrower than int. */
/* standards: gnu11 gnu17 */
#include <weft.h>

int work(char c);
int job(int c);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_future_free(weft_async(work, 1));
#else
    weft_future_free(weft_async(job, 1));
#endif
}
