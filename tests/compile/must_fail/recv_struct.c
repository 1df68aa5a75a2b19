/* weft_recv into another struct than the channel carries. */
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
    struct point p;
    struct size s;
#ifdef MISUSE
    weft_recv(c, &s);
#else
    weft_recv(c, &p);
#endif
}
