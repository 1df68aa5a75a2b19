/* weft/process.h needs no other header before it, and may be included twice. */
#include <weft/process.h>
#include <weft/process.h>

/* A translation unit must declare something. */
int snippet(void);
