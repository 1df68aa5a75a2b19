/* weft_await_panic with something else for the text. */
#include <weft.h>

int job(void);

void snippet(void);
void snippet(void)
{
    static int i;
    static char *text;
#ifdef MISUSE
    weft_await_panic(weft_async(job), &i, text);
#else
    weft_await_panic(weft_async(job), &i, &text);
#endif
}
