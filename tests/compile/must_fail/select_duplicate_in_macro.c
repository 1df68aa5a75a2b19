/* The same index twice, inside another macro. */
/* Spread over lines on purpose: */
/* clang-format off */
#include <weft.h>

#include <assert.h>

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
#ifdef MISUSE
    assert(weft_select([0] = weft_on_send(c, 1),
                       [0] = weft_on_send(c, 2)) == 0);
#else
    assert(weft_select([0] = weft_on_send(c, 1),
                       [1] = weft_on_send(c, 2)) == 0);
#endif
}
