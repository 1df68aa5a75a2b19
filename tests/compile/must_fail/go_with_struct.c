/* weft_go_with a struct that the function does not take. */
#include <weft.h>

struct point {
    int x, y;
};
struct size {
    int w, h;
};
void work(struct point *p);

void snippet(void);
void snippet(void)
{
#ifdef MISUSE
    weft_go_with(work, (struct size){1, 2});
#else
    weft_go_with(work, (struct point){1, 2});
#endif
}
