/* unwind.c — nothing unwinds out of a goroutine: the personality routine of wi_invoke's frame. */
#include "arch/context.h"

#include <unwind.h>

/* Named by the unwind tables in switch.S. */
_Unwind_Reason_Code wi_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class exception_class,
                                   struct _Unwind_Exception *exception, struct _Unwind_Context *context)
    __attribute__((visibility("hidden")));

/* An exception is stopped in the search phase: nothing has been unwound yet, so the report can show where it was thrown.
   Forced unwinding has no search phase; the frames below have run their cleanups when it arrives here. */
_Unwind_Reason_Code wi_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class exception_class,
                                   struct _Unwind_Exception *exception, struct _Unwind_Context *context)
{
    (void)version, (void)exception_class, (void)exception, (void)context;
    wi_invoke_unwound((actions & _UA_FORCE_UNWIND) != 0);
}
