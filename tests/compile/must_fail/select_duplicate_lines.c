/* The same index twice, on several lines and by name. */
/* Spread over lines on purpose: */
/* clang-format off */
#include <weft.h>

enum { A, B };

void snippet(void);
void snippet(void)
{
    weft_chan(int) c = weft_chan_make(int, 1);
#ifdef MISUSE
    switch (weft_select([A] = weft_on_send(c, 1),
                        [B] = weft_on_recv(c, NULL),
                        [A] = weft_on_send(c, 2))) {
    default:
        break;
    }
#else
    switch (weft_select([A] = weft_on_send(c, 1),
                        [B] = weft_on_recv(c, NULL))) {
    default:
        break;
    }
#endif
}
