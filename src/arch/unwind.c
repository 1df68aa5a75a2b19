/* unwind.c — nothing unwinds out of a goroutine: the personality routine of the frames of wi_invoke and
   wi_invoke_guarded. */
#include "arch/context.h"

#include <unwind.h>

/* Named by the unwind tables in switch.S. */
_Unwind_Reason_Code wi_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class exception_class,
                                   struct _Unwind_Exception *exception, struct _Unwind_Context *context)
    __attribute__((visibility("hidden")));

extern const char wi_invoke_guarded_landing[] __attribute__((visibility("hidden"))); /* where fn returns to */

/* An exception is stopped in the search phase: nothing has been unwound yet, so the report can show where it was thrown.
   Forced unwinding has no search phase; the frames below have run their cleanups when it arrives here. */
_Unwind_Reason_Code wi_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class exception_class,
                                   struct _Unwind_Exception *exception, struct _Unwind_Context *context)
{
    (void)version, (void)exception;
    if (exception_class == WI_UNWIND_CLASS) { /* it does not come as far as a wi_invoke: see ctx/panic.c */
        _Unwind_SetIP(context, (uintptr_t)wi_invoke_guarded_landing);
        return _URC_INSTALL_CONTEXT;
    }
    wi_invoke_unwound((actions & _UA_FORCE_UNWIND) != 0);
}
