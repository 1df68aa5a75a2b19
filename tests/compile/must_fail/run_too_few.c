/* weft_run with fewer arguments than the function takes. */
#include <weft.h>

int app(int argc, char **argv);

void snippet(void);
void snippet(void)
{
    static char **argv;
#ifdef MISUSE
    weft_run(app, 1);
#else
    weft_run(app, 1, argv);
#endif
}
