/* weft/select.h needs no other header before it, and may be included twice. */
#include <weft/select.h>
#include <weft/select.h>

/* A translation unit must declare something. */
int snippet(void);
