/* weft/process.h — running other programs, so that only the goroutine waits for them.

     char *sort[] = {"sort", "-n", NULL};
     weft_outcome sorted;
     int error = weft_exec(WEFT_COMMAND(.argv = sort, .output = WEFT_PIPE), "3\n1\n2\n", 6, &sorted);
     if (error == 0 && WIFEXITED(sorted.status) && WEXITSTATUS(sorted.status) == 0)
         fwrite(sorted.output, 1, sorted.output_size, stdout);
     weft_outcome_free(&sorted);

   A program begins with the signal mask of the thread that starts it, or, if a goroutine on a thread of weft's does, of the
   thread that started weft; with SIGPIPE at its default; ignoring what the caller's process ignores; and with none of the
   descriptors made here but those meant for it. A descriptor that it is given stays as it is: one that is non-blocking is so
   for the program too.

   Waiting takes no thread and no SIGCHLD, which stays the program's. But who waits for any child, or ignores SIGCHLD, may
   take a status away (-ECHILD). Everything may be called from goroutines and from foreign threads. */
#ifndef WEFT_PROCESS_H
#define WEFT_PROCESS_H

#include "io.h"
#pragma GCC system_header /* see macros.h */

#include <sys/wait.h>

WEFT_BEGIN_DECLS_

/* What a program's input, output and error output can be beside a descriptor of 1 or more; 0: the caller's. */
#define WEFT_NULL (-1)   /* /dev/null */
#define WEFT_PIPE (-2)   /* a pipe, whose other end the caller gets */
#define WEFT_OUTPUT (-3) /* for errors only: the same as the output */

/* What to run, versioned by size: write WEFT_COMMAND(.argv = ..., .output = WEFT_PIPE). */
typedef struct weft_command {
    size_t size;               /* sizeof(weft_command), as the caller was compiled */
    const char *path;          /* the program, which is searched in PATH unless there is a '/' in it; NULL: argv[0] */
    char *const *argv;         /* its arguments, from its own name on; NULL ends them */
    char *const *envp;         /* its environment; NULL: the caller's */
    const char *dir;           /* its working directory, from which a path with a '/' counts; NULL: the caller's */
    int input, output, errors; /* its descriptors 0, 1 and 2: see above */
} weft_command;

/* A program that was started: filled in by weft_process_start, not to be copied while it is in use. Who closes one of our
   ends of its pipes, or keeps it, sets it to -1. */
typedef struct weft_process {
    pid_t pid;
    int pidfd;                 /* readable when it has ended; -1: the kernel has none, or no descriptor was left for it */
    int input, output, errors; /* our ends of its pipes, non-blocking; -1: none */
    uint32_t state;            /* opaque */
} weft_process;

/* Starts a program. 0; -ENOENT, -EACCES, -ENOEXEC, -ENOTDIR, -E2BIG ...: it cannot be run; -EINVAL: a bad command; -EAGAIN,
   -ENOMEM, -EMFILE, -ENFILE. After an error there is nothing to wait for or to close, and all descriptors in *process are
   -1. Blocks, for as long as the kernel takes. */
WEFT_API int weft_process_start(weft_process *process, const weft_command *command);
/* Waits until it has ended. 0 and the status as of waitpid(2) (NULL: not wanted); -ECHILD: somebody has had it already;
   -ECANCELED, -ETIMEDOUT: the caller's context ended, and the program goes on. Several may wait, one gets the status.
   Blocks. */
WEFT_API int weft_process_wait(weft_process *process, int *status);
/* Sends it a signal; 0: none, only looks. 0; -ESRCH: it has ended, and was waited for; -EPERM, -EINVAL. Never hits another
   process (without a pidfd: as long as nobody but weft_process_wait waits for it). Never blocks. */
WEFT_API int weft_process_kill(weft_process *process, int signo);
/* Closes pidfd and our ends of its pipes, but those that are -1, and sets them to -1. Ends no program: one that was not
   waited for becomes a zombie when it ends. Nobody may use the process any more. Blocks as weft_close_fd does. */
WEFT_API void weft_process_close(weft_process *process);

/* What became of a program. */
typedef struct weft_outcome {
    int status;                      /* as of waitpid(2); valid when weft_exec gave 0 */
    char *output, *errors;           /* what it wrote, and a zero; NULL: there was no WEFT_PIPE */
    size_t output_size, errors_size; /* without the zero */
} weft_outcome;

/* Runs a program to its end. Gives it input and then the end of it (NULL: what the command says), keeps what comes through
   those of output and errors that are WEFT_PIPE until they end, all at the same time, and waits for it. That it does not
   read all of its input is no error. When the caller's context ends the program is killed; one that has ended already starts
   none.
     0                          it has run, whatever its status is
     -ECANCELED, -ETIMEDOUT     the context ended first
     -ENOMEM                    no memory for what it wrote, and it was killed
     -ECHILD                    somebody else has its status
     errors of weft_process_start
   Neither program nor descriptor is left behind, and *outcome has what came until then, to be freed also after an error.
   Programs that it started and left behind hold up the call while they have one of its pipes open; nobody kills them.
   Blocks. */
WEFT_API int weft_exec(const weft_command *command, const void *input, size_t size, weft_outcome *outcome);
WEFT_API void weft_outcome_free(weft_outcome *outcome);

WEFT_END_DECLS_

#ifndef __cplusplus

/* A pointer to a command that is valid until the end of the enclosing block. */
#define WEFT_COMMAND(...) (&(const weft_command){.size = sizeof(weft_command) __VA_OPT__(, ) __VA_ARGS__})

#endif /* !__cplusplus */
#endif
