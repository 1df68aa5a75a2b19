/* frames.h — frames of C between frames of C++, for unwind.cc: one compiled without -fexceptions, one with. */
#ifndef FRAMES_H
#define FRAMES_H

#include <weft.h>

WEFT_BEGIN_DECLS_

typedef void (*frame_fn)(int what);

/* Locks m for the block in which it calls next(what). */
void frame_plain(weft_mutex *m, frame_fn next, int what);
void frame_exceptions(weft_mutex *m, frame_fn next, int what);

WEFT_END_DECLS_
#endif
