// The declarations in C++, also inside the program's own extern "C".
#include <weft.h>
#include <weft/chan.h>

extern "C" {
#include <weft/select.h>
#include <weft/sync.h>
}

int everything();

int everything()
{
    static const weft_site site = {__FILE__, "work", __LINE__, 1};
    weft_options options = weft_options();
    options.size = sizeof options;
    options.name = "work";
    weft_waitgroup wg = weft_waitgroup();
    weft_mutex m = weft_mutex();
    weft_lock(&m);
    weft_unlock(&m);
    weft_wg_add(&wg, 0);
    weft_wg_wait(&wg);

    weft_chan_core *c = weft_chan_core_make(sizeof(int), 1);
    weft_case which = weft_case();
    int value = 0;
    which.op = WEFT_CASE_RECV;
    which.chan = c;
    which.value = &value;
    int chosen = weft_select_(&which, 1, false);
    weft_chan_core_free(c);
    return chosen + static_cast<int>(site.line) + static_cast<int>(WEFT_MS / WEFT_US) + weft_procs();
}
