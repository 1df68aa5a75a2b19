/* filter.h — an older kernel, or a stricter one: a system call that does not exist. Linux only; include it in one file of the
   program, before main. */
#ifndef WEFT_TEST_FILTER_H
#define WEFT_TEST_FILTER_H

#include "test.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* From now on the call fails with ENOSYS in this process and its children. Ends the program when no filter can be had. */
static TEST_UNUSED_ void test_refuse_call(unsigned number)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        printf("skipped: no filter can be had here (%s)\n", strerror(errno));
        exit(0);
    }
    CHECK(syscall((long)number, 0, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS);
}

#endif
