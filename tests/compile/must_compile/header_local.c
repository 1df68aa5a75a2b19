/* weft/local.h needs no other header before it, and may be included twice. */
#include <weft/local.h>
#include <weft/local.h>

/* A translation unit must declare something. */
int snippet(void);
