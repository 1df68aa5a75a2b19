/* weft_send of another struct than the channel carries. */
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
    weft_send(c, (struct size){1, 2});
#else
    weft_send(c, (struct point){1, 2});
#endif
}
