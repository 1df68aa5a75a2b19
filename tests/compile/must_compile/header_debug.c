/* weft/debug.h needs no other header before it, and may be included twice. */
#include <weft/debug.h>
#include <weft/debug.h>

/* A translation unit must declare something. */
int snippet(void);
