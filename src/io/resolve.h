/* resolve.h — for hooks.h: what weft_resolve leaves behind. */
#ifndef WI_RESOLVE_H
#define WI_RESOLVE_H

/* In a forked child. */
void wi_resolve_forget(void);

#endif
