/* weft_async of a function that returns a struct. */
#include <weft.h>

struct pair {
    int a, b;
};
struct pair work(void);
int job(void);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_future_core_free((void *)weft_async(work));
#else
    weft_future_core_free((void *)weft_async(job));
#endif
}
