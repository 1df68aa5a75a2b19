/* scope_exceptions.c — scope.c, where the compiler's cleanups run when frames are unwound. */
/* COMPILE: -fexceptions */
#include "scope.c"
