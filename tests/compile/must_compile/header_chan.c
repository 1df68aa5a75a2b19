/* weft/chan.h needs no other header before it, and may be included twice. */
#include <weft/chan.h>
#include <weft/chan.h>

/* A translation unit must declare something. */
int snippet(void);
