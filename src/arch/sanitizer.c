/* sanitizer.c — the part of the sanitizer hooks that must not be inlined: its own frame marks where the dying frames end. */
#include "arch/sanitizer.h"

#ifdef WI_SANITIZER_ASAN
#include <sanitizer/asan_interface.h>

__attribute__((noinline)) void wi_sanitizer_unpoison_frames(const struct wi_sanitizer_side *side)
{
    const char *low = __builtin_frame_address(0);
    const char *top = (const char *)side->asan_bottom + side->asan_size;
    __asan_unpoison_memory_region(low, (size_t)(top - low));
}

__attribute__((noinline)) void wi_sanitizer_unpoison_below(const void *sp)
{
    const char *low = __builtin_frame_address(0);
    __asan_unpoison_memory_region(low, (size_t)((const char *)sp - low));
}
#endif
