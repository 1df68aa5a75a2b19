/* weft_run of a function that returns another type than int. */
#include <weft.h>

long work(void);
int app(void);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_run(work);
#else
    weft_run(app);
#endif
}
