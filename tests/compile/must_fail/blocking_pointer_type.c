/* weft_blocking with a pointer of another type. */
#include <weft.h>

int job(int *p);
extern char c;
extern int i;

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_blocking(job, &c);
#else
    weft_blocking(job, &i);
#endif
}
