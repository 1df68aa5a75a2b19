/* weft/time.h needs no other header before it, and may be included twice. */
#include <weft/time.h>
#include <weft/time.h>

/* A translation unit must declare something. */
int snippet(void);
