/* weft/go.h needs no other header before it, and may be included twice. */
#include <weft/go.h>
#include <weft/go.h>

/* A translation unit must declare something. */
int snippet(void);
