/* weft_on_send of another struct than the channel carries. */
#include <weft.h>

struct point {
    int x, y;
};
struct size {
    int w, h;
};

void snippet(void);
void snippet(void)
{
    weft_chan(struct point) c = weft_chan_make(struct point, 1);
#ifdef MISUSE
    if (weft_select(weft_on_send(c, (struct size){1, 2})) < 0)
        return;
#else
    if (weft_select(weft_on_send(c, (struct point){1, 2})) < 0)
        return;
#endif
}
