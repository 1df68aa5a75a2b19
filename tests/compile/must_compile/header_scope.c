/* weft/scope.h needs no other header before it, and may be included twice. */
#include <weft/scope.h>
#include <weft/scope.h>

/* A translation unit must declare something. */
int snippet(void);
