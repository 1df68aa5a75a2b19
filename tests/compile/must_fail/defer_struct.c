/* weft_defer of a function that returns a struct. */
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
    weft_defer(work);
#else
    weft_defer(job);
#endif
}
