/* process.c — programs: started by posix_spawn, waited for by a pidfd in the poller.

   posix_spawn neither copies page tables, as fork does, nor runs anything of the program's between fork and exec, and it
   says why exec failed. Descriptors are close-on-exec from their birth, so that a program started by another thread at the
   same time gets none of them; the file actions move the program's own to 0, 1 and 2 from numbers above those, so that none
   is overwritten before it has been moved.

   A pidfd names the process for ever, so no signal ever hits the next one with its number. Where there is none (before Linux
   5.3, or no descriptor is left), waiting is looking now and then, and `state` keeps the number ours while a signal is sent:

     RUNNING -> BUSY -> RUNNING     a look that finds it running; a signal
     RUNNING -> BUSY -> REAPED      a look that reaps it: the number is free from then on

   (Rejected: SIGCHLD, which is the program's, and comes once for many; a thread for each wait.) */
#define _GNU_SOURCE 1 /* pipe2, posix_spawn_file_actions_addchdir_np */
#include "io/process.h"

#include "io/fd.h"
#include "sched/cancel.h"
#include "weft/ctx.h"
#include "weft/group.h"
#include "weft/process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define PIDFD ((idtype_t)3) /* P_PIDFD, which older headers lack */

#define LOOK_FIRST_NS INT64_C(1000000) /* without a pidfd: the pause between looks, at first and at last */
#define LOOK_LAST_NS INT64_C(32000000)

static sigset_t program_mask; /* [const while the runtime runs] */

void wi_process_started(void)
{
    pthread_sigmask(SIG_SETMASK, NULL, &program_mask);
}

/* ---- what a program begins with ---- */

enum { INPUT, OUTPUT, ERRORS };

struct plan {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int ours[3];   /* our ends of pipes, or -1 */
    int theirs[3]; /* to be closed when the program has its own copies, or -1 */
};

/* A copy above 2. A negative errno. */
static int lift(int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy >= 0 ? copy : -errno;
}

static int add_pipe(struct plan *plan, int which)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    int ours = ends[which == INPUT], theirs = ends[which != INPUT];
    if (theirs < 3) {
        int low = theirs;
        theirs = lift(low);
        close(low);
    }
    int error = theirs < 0 ? theirs : fcntl(ours, F_SETFL, O_NONBLOCK) != 0 ? -errno : wi_fd_new(ours, WI_FD_OPEN);
    if (error) {
        close(ours);
        if (theirs >= 0)
            close(theirs);
        return error;
    }
    plan->ours[which] = ours;
    plan->theirs[which] = theirs;
    return -posix_spawn_file_actions_adddup2(&plan->actions, theirs, which);
}

static int add_descriptor(struct plan *plan, int which, int fd)
{
    if (fd < 3) {
        if ((fd = lift(fd)) < 0)
            return fd;
        plan->theirs[which] = fd;
    }
    return -posix_spawn_file_actions_adddup2(&plan->actions, fd, which);
}

static int add_stream(struct plan *plan, int which, int wanted)
{
    if (wanted == 0)
        return 0;
    if (wanted == WEFT_NULL)
        return -posix_spawn_file_actions_addopen(&plan->actions, which, "/dev/null", O_RDWR, 0);
    if (wanted == WEFT_PIPE)
        return add_pipe(plan, which);
    if (wanted == WEFT_OUTPUT && which == ERRORS)
        return -posix_spawn_file_actions_adddup2(&plan->actions, OUTPUT, ERRORS);
    return wanted > 0 ? add_descriptor(plan, which, wanted) : -EINVAL;
}

static int set_signals(struct plan *plan)
{
    short flags = POSIX_SPAWN_SETSIGDEF;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE); /* servers ignore it; programs in pipes must not */
    int error = posix_spawnattr_setsigdefault(&plan->attributes, &pipe_only);
    struct wi_thread *t = wi_self();
    if (!error && t && t->kind == WI_THREAD_RUNTIME) {
        flags |= POSIX_SPAWN_SETSIGMASK;
        error = posix_spawnattr_setsigmask(&plan->attributes, &program_mask);
    }
    return error ? -error : -posix_spawnattr_setflags(&plan->attributes, flags);
}

static int fill(struct plan *plan, const weft_command *command)
{
    int error = set_signals(plan);
    if (!error)
        error = add_stream(plan, INPUT, command->input);
    if (!error)
        error = add_stream(plan, OUTPUT, command->output);
    if (!error)
        error = add_stream(plan, ERRORS, command->errors);
    if (!error && command->dir)
        error = -posix_spawn_file_actions_addchdir_np(&plan->actions, command->dir);
    return error;
}

static int spawn(const struct plan *plan, const weft_command *command, pid_t *pid)
{
    const char *path = command->path ? command->path : command->argv[0];
    char *const *envp = command->envp ? command->envp : environ;
    return -posix_spawnp(pid, path, &plan->actions, &plan->attributes, command->argv, envp);
}

/* ---- starting ---- */

static int open_pidfd(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd >= 0 && wi_fd_new(fd, WI_FD_OPEN) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static void close_ends(const int *ends, void (*close_one)(int fd))
{
    for (int i = 0; i < 3; i++)
        if (ends[i] >= 0)
            close_one(ends[i]);
}

static void close_ours(int fd)
{
    weft_close_fd(fd);
}

static void close_theirs(int fd)
{
    close(fd);
}

int weft_process_start(weft_process *p, const weft_command *command)
{
    *p = (weft_process){.pidfd = -1, .input = -1, .output = -1, .errors = -1};
    if (command->size < sizeof *command || !command->argv || !command->argv[0])
        return -EINVAL;
    int saved = errno;
    struct plan plan = {.ours = {-1, -1, -1}, .theirs = {-1, -1, -1}};
    if (posix_spawn_file_actions_init(&plan.actions) != 0)
        return -ENOMEM;
    if (posix_spawnattr_init(&plan.attributes) != 0) {
        posix_spawn_file_actions_destroy(&plan.actions);
        return -ENOMEM;
    }
    int error = fill(&plan, command);
    if (!error)
        error = spawn(&plan, command, &p->pid);
    posix_spawnattr_destroy(&plan.attributes);
    posix_spawn_file_actions_destroy(&plan.actions);
    close_ends(plan.theirs, close_theirs);
    if (error) {
        close_ends(plan.ours, close_ours);
        return error;
    }
    p->pidfd = open_pidfd(p->pid);
    p->input = plan.ours[INPUT];
    p->output = plan.ours[OUTPUT];
    p->errors = plan.ours[ERRORS];
    errno = saved;
    return 0;
}

void weft_process_close(weft_process *p)
{
    int *const all[] = {&p->input, &p->output, &p->errors, &p->pidfd};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        if (*all[i] >= 0)
            weft_close_fd(*all[i]);
        *all[i] = -1;
    }
}

/* ---- waiting ---- */

/* As waitid(2) with WEXITED: 1, the status is there; 0, with WNOHANG: it still runs; a negative errno. */
static int reap(idtype_t type, id_t id, int flags, int *status)
{
    siginfo_t info = {0};
    while (waitid(type, id, &info, WEXITED | flags) != 0)
        if (errno != EINTR)
            return -errno;
    if (info.si_pid == 0)
        return 0;
    if (status)
        *status = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
                                             : info.si_status | (info.si_code == CLD_DUMPED ? WCOREFLAG : 0);
    return 1;
}

enum { RUNNING, BUSY, REAPED };

/* Makes the state BUSY, which lasts for one system call that does not block. False: it was reaped. */
static bool hold_number(weft_process *p)
{
    uint32_t state = RUNNING;
    /* pairs with let_number_go */
    while (!__atomic_compare_exchange_n(&p->state, &state, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
        if (state == REAPED)
            return false;
        state = RUNNING;
        sched_yield();
    }
    return true;
}

static void let_number_go(weft_process *p, uint32_t state)
{
    __atomic_store_n(&p->state, state, __ATOMIC_RELEASE); /* pairs with hold_number */
}

/* 1: the status is there; 0, with WNOHANG: it still runs; a negative errno. */
static int reap_it(weft_process *p, int flags, int *status)
{
    int result = p->pidfd >= 0 ? reap(PIDFD, (id_t)p->pidfd, flags, status) : -EINVAL;
    return result == -EINVAL /* also Linux 5.3 */ ? reap(P_PID, (id_t)p->pid, flags, status) : result;
}

static int wait_by_looking(weft_process *p, int *status)
{
    for (int64_t pause_ns = LOOK_FIRST_NS;; pause_ns = pause_ns < LOOK_LAST_NS ? 2 * pause_ns : pause_ns) {
        if (!hold_number(p))
            return -ECHILD;
        int result = reap_it(p, WNOHANG, status);
        let_number_go(p, result == 0 ? RUNNING : REAPED);
        if (result != 0)
            return result < 0 ? result : 0;
        int error = weft_sleep(pause_ns);
        if (error)
            return error;
    }
}

int weft_process_wait(weft_process *p, int *status)
{
    int result = p->pidfd >= 0 ? weft_wait_fd(p->pidfd, POLLIN) : -ENOSYS;
    if (result == -ENOSYS || result == -ENOMEM || result == -ENOSPC) /* the poller cannot take it */
        return wait_by_looking(p, status);
    if (result >= 0)
        result = reap_it(p, 0, status);
    return result < 0 ? result : 0;
}

int weft_process_kill(weft_process *p, int signo)
{
    int saved = errno, result = -ESRCH;
    if (p->pidfd >= 0) {
        result = syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0) == 0 ? 0 : -errno;
    } else if (hold_number(p)) {
        result = kill(p->pid, signo) == 0 ? 0 : -errno;
        let_number_go(p, RUNNING);
    }
    errno = saved;
    return result;
}

/* ---- running to the end ---- */

struct run {
    weft_process process;
    const void *input;
    size_t input_size;
};

/* Whatever goes wrong with a pipe ends the program, which might wait for it for ever. */
static int done(struct run *run, int error)
{
    if (error)
        weft_process_kill(&run->process, SIGKILL);
    return error;
}

static int feed(struct run *run)
{
    ssize_t n = run->input_size ? weft_write_all(run->process.input, run->input, run->input_size) : 0;
    weft_close_fd(run->process.input);
    run->process.input = -1;
    return done(run, n < 0 && n != -EPIPE ? (int)n : 0);
}

static bool make_room(char **data, size_t size, size_t *room)
{
    if (*room - size > 1)
        return true;
    size_t more = *room ? 2 * *room : 4096;
    char *grown = more > *room ? realloc(*data, more) : NULL;
    if (!grown)
        return false;
    *data = grown;
    *room = more;
    return true;
}

static int collect(struct run *run, int fd, char **data, size_t *size)
{
    size_t room = 0;
    ssize_t n = -ENOMEM;
    while (make_room(data, *size, &room)) {
        n = weft_read(fd, *data + *size, room - *size - 1);
        if (n > 0)
            *size += (size_t)n;
        (*data)[*size] = '\0';
        if (n <= 0)
            break;
        n = -ENOMEM;
    }
    return done(run, (int)n);
}

/* Waits for the program; when the caller's context ends first, kills it and waits for that. */
static int wait_or_kill(struct run *run, int *status)
{
    int error = weft_process_wait(&run->process, status);
    if (error == -ECANCELED || error == -ETIMEDOUT) {
        weft_process_kill(&run->process, SIGKILL);
        weft_scoped_shield();
        weft_process_wait(&run->process, status);
    }
    return error;
}

static int run_to_end(struct run *run, weft_outcome *outcome)
{
    weft_process *p = &run->process;
    weft_group feeder = WEFT_GROUP(0), collector = WEFT_GROUP(0);
    int error = 0, error2;
    if (p->input >= 0)
        error = done(run, weft_group_go(&feeder, feed, run));
    if (p->errors >= 0 &&
        (error2 = weft_group_go(&collector, collect, run, p->errors, &outcome->errors, &outcome->errors_size)))
        error = done(run, error2);
    if (p->output >= 0 && (error2 = collect(run, p->output, &outcome->output, &outcome->output_size)))
        error = error2;
    if ((error2 = wait_or_kill(run, &outcome->status)))
        error = error2;
    weft_group_cancel(&feeder, -EPIPE); /* nobody will read the rest */
    if ((error2 = weft_group_wait(&feeder)) && error2 != -EPIPE)
        error = error2;
    if ((error2 = weft_group_wait(&collector)))
        error = error2;
    weft_process_close(p);
    return error;
}

/* Why the context that the caller runs in, and is not shielded from, has ended; 0: it has not. */
static int context_error(void)
{
    struct wi_thread *t = wi_enter();
    if (!t)
        return -EDEADLK;
    struct wi_canceller *canceller = wi_cancel_of(wi_waiting(t));
    int error = canceller ? wi_load_acquire(&canceller->ended) : 0; /* pairs with the store in wi_cancel_begin */
    wi_leave(t);
    return error;
}

int weft_exec(const weft_command *command, const void *input, size_t size, weft_outcome *outcome)
{
    *outcome = (weft_outcome){0};
    if (command->size < sizeof *command)
        return -EINVAL;
    int error = context_error();
    if (error)
        return error;
    struct run run = {.input = input, .input_size = size};
    weft_command own = *command;
    if (input)
        own.input = WEFT_PIPE;
    error = weft_process_start(&run.process, &own);
    return error ? error : run_to_end(&run, outcome);
}

void weft_outcome_free(weft_outcome *outcome)
{
    free(outcome->output);
    free(outcome->errors);
    *outcome = (weft_outcome){0};
}
