/* weft_chan_len of something that is no channel. */
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
    weft_chan(int) c = weft_chan_make(int, 1);
    static struct point p;
#ifdef MISUSE
    (void)weft_chan_len(&p);
#else
    (void)weft_chan_len(c);
#endif
}
