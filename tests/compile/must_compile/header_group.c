/* weft/group.h needs no other header before it, and may be included twice. */
#include <weft/group.h>
#include <weft/group.h>

/* A translation unit must declare something. */
int snippet(void);
