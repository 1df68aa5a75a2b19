/* digest: options, Ctrl-C, and what is printed in the end. */
#include "digest.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <weft.h>

enum { MAX_JOBS = 1024 };

static void usage(FILE *out)
{
    fprintf(out,
            "usage: digest [-j N] [--fail-fast] [--no-progress] PATH...\n"
            "Prints the SHA-256 of every regular file under each PATH, sorted by path, in the format of sha256sum.\n"
            "Symbolic links are not followed.\n"
            "\n"
            "  -j, --jobs=N     read up to N files at once, 1 to %d; as many as there are processors when left out\n"
            "  --fail-fast      stop at the first error and print no digests; otherwise errors are reported at the end\n"
            "  --no-progress    no progress line, even if standard error is a terminal\n"
            "  --help, --version\n"
            "\n"
            "Ctrl-C ends the work, and the digests that are done are printed; once more, and the program ends at once.\n"
            "Exit status: 0 when all went well, 1 when something could not be read or written, 2 for wrong usage, 128 and\n"
            "the number of the signal when one ended the work (130 for Ctrl-C).\n",
            MAX_JOBS);
}

/* The number of digesters that -j asks for; ends the program when it is no good. */
static int parse_jobs(const char *text)
{
    char *end;
    errno = 0;
    long jobs = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && jobs >= 1 && jobs <= MAX_JOBS)
        return (int)jobs;
    fprintf(stderr, "digest: -j takes a number from 1 to %d, not '%s'\n", MAX_JOBS, text);
    exit(2);
}

static void parse_options(int argc, char **argv, struct options *options)
{
    enum { FAIL_FAST = 256, NO_PROGRESS, HELP, VERSION };
    static const struct option known[] = {
        {"jobs", required_argument, NULL, 'j'},          {"fail-fast", no_argument, NULL, FAIL_FAST},
        {"no-progress", no_argument, NULL, NO_PROGRESS}, {"help", no_argument, NULL, HELP},
        {"version", no_argument, NULL, VERSION},         {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "j:", known, NULL)) != -1;) {
        switch (option) {
        case 'j':
            options->jobs = parse_jobs(optarg);
            break;
        case FAIL_FAST:
            options->fail_fast = true;
            break;
        case NO_PROGRESS:
            options->progress = false;
            break;
        case HELP:
            usage(stdout);
            exit(fflush(stdout) == 0 ? 0 : 1);
        case VERSION:
            printf("digest 1.0, an example of weft, with %s\n", OpenSSL_version(OPENSSL_VERSION));
            exit(fflush(stdout) == 0 ? 0 : 1);
        default: /* getopt_long has said what is wrong */
            usage(stderr);
            exit(2);
        }
    }
    options->roots = argv + optind;
    options->root_count = argc - optind;
    if (options->root_count == 0) {
        fputs("digest: no PATH given\n", stderr);
        usage(stderr);
        exit(2);
    }
}

/* Takes the places of standard streams that are closed, so that no file that digest opens becomes one; opened the wrong way
   round, so that their use is an error. */
static void occupy_standard_streams(void)
{
    static const int wrong_way[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", wrong_way[fd]) != fd)
            exit(1);
}

/* Every digester has a file open, and a deep tree a descriptor for each level: allow as many as the system does. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* ---- Ctrl-C ----
   A thread waits for the signal, so that what happens then needs no signal handler and may call everything. */

static weft_ctx *interruptible; /* what the work runs in */
static atomic_int interrupted;  /* the signal; or that the work is over, and a signal ends the program at once */

static void *wait_for_signals(void *signals)
{
    for (;;) {
        int signal;
        if (sigwait(signals, &signal) != 0)
            continue;
        if (atomic_exchange(&interrupted, signal) != 0) {
            pthread_sigmask(SIG_UNBLOCK, signals, NULL);
            raise(signal);
        }
        weft_ctx_cancel(interruptible);
    }
    return NULL;
}

/* To be called before the program has other threads: they inherit that the signals are blocked, as they are in weft's
   anyway. */
static void catch_signals(void)
{
    static const int wanted[] = {SIGINT, SIGTERM};
    static sigset_t signals;
    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct sigaction action;
        if (sigaction(wanted[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) /* nohup, or a job in the background */
            sigaddset(&signals, wanted[i]);
    }
    pthread_t thread;
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (pthread_create(&thread, NULL, wait_for_signals, &signals) != 0)
        pthread_sigmask(SIG_UNBLOCK, &signals, NULL); /* they end the program, as they do without all this */
    else
        pthread_detach(thread);
}

static int run(const struct options *options, struct list *list, struct entry **failed)
{
    weft_scoped_use(interruptible);
    return pipeline_run(options, list, failed);
}

/* What there is to say in the end: the exit status. */
static int report(const struct list *list)
{
    int error = print_digests(list);
    int status = print_errors(list) > 0;
    if (error != 0) {
        fprintf(stderr, "digest: write error: %s\n", strerror(-error));
        status = 1;
    }
    return status;
}

int main(int argc, char **argv)
{
    occupy_standard_streams();
    struct options options = {.jobs = weft_procs(), .progress = isatty(STDERR_FILENO)};
    parse_options(argc, argv, &options);
    raise_file_limit();
    interruptible = weft_ctx_with_cancel(weft_ctx_background());
    if (interruptible == NULL)
        out_of_memory();
    catch_signals();

    struct list list = {0};
    struct entry *failed = NULL;
    int outcome = weft_run(run, &options, &list, &failed), status = 1;
    int signal = atomic_exchange(&interrupted, -1);

    if (failed != NULL) {
        print_error(failed);
    } else if (outcome != 0 && outcome != -ECANCELED) {
        fprintf(stderr, "digest: %s\n", strerror(-outcome));
    } else {
        list_sort(&list);
        status = report(&list);
        if (outcome != 0) {
            fprintf(stderr, "digest: interrupted, files done: %zu\n", list_done(&list));
            status = 128 + signal;
        }
    }
    list_free(&list);
    return status;
}
