/* digest: options, and what is printed in the end. */
#include "digest.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/crypto.h>
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
            "Exit status: 0 when all went well, 1 when something could not be read or written, 2 for wrong usage.\n",
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

int main(int argc, char **argv)
{
    occupy_standard_streams();
    struct options options = {.jobs = weft_procs(), .progress = isatty(STDERR_FILENO)};
    parse_options(argc, argv, &options);
    raise_file_limit();

    struct list list = {0};
    struct entry *failed = NULL;
    int status = weft_run(pipeline_run, &options, &list, &failed);

    if (failed != NULL) {
        print_error(failed);
        status = 1;
    } else {
        list_sort(&list);
        int error = print_digests(&list);
        if (print_errors(&list) > 0)
            status = 1;
        if (error != 0) {
            fprintf(stderr, "digest: write error: %s\n", strerror(-error));
            status = 1;
        }
    }
    list_free(&list);
    return status;
}
