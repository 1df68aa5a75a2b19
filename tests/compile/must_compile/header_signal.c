/* weft/signal.h needs no other header before it, and may be included twice. */
#include <weft/signal.h>
#include <weft/signal.h>

/* A translation unit must declare something. */
int snippet(void);
