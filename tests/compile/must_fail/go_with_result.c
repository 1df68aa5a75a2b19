/* weft_go_with a function that returns a value. */
#include <weft.h>

struct point {
    int x, y;
};
struct size {
    int w, h;
};
int work(struct point *p);
void plain(struct point *p);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go_with(work, (struct point){1, 2});
#else
    weft_go_with(plain, (struct point){1, 2});
#endif
}
