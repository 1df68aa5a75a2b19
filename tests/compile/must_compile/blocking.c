/* weft_blocking of all that it takes. */
#include <weft.h>

enum colour { RED };
void none(void);
int six(int a, long b, unsigned c, const char *d, void *e, unsigned long long f);
char *pointer(char *text);
bool truth(long x);
enum colour colour(int x);
signed char narrow(int x);

char *snippet(char *text);
char *snippet(char *text)
{
    weft_blocking(none);
    if (weft_blocking(truth, 1L) && weft_blocking(colour, 1) == RED && weft_blocking(narrow, 1) < 0)
        return weft_blocking(pointer, text);
    return weft_blocking(six, 1, 2L, 3U, text, text, 4ULL) ? text : NULL;
}
