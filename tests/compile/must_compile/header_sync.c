/* weft/sync.h needs no other header before it, and may be included twice. */
#include <weft/sync.h>
#include <weft/sync.h>

/* A translation unit must declare something. */
int snippet(void);
