/* weft_go with a struct. */
#include <weft.h>

struct point {
    int x, y;
};
void work(struct point p);
void plain(struct point *p);

void snippet(void);
void snippet(void)
{
    static struct point p;
#ifdef MISUSE
    weft_go(work, p);
#else
    weft_go(plain, &p);
#endif
}
