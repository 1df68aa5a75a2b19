/* weft_send of what is only the first member of the channel's struct. */
#include <weft.h>

struct point {
    int x, y;
};
struct size {
    int w, h;
};
struct box {
    struct point at;
    struct size size;
};

void snippet(void);
void snippet(void)
{
    weft_chan(struct box) c = weft_chan_make(struct box, 1);
    struct box box = {{1, 2}, {3, 4}};
#ifdef MISUSE
    weft_send(c, box.at);
#else
    weft_send(c, box);
#endif
}
