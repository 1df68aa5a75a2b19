/* server.h — a real server for a test: started in a directory of its own, as somebody without privileges when we are root,
   and gone when the test ends, however it ends. For programs with one thread up to server_start. */
#ifndef TESTS_HOOK_SERVER_H
#define TESTS_HOOK_SERVER_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first header"
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SERVER_SKIP 77
#define SERVER_UNUSED __attribute__((unused))

static struct {
    char directory[64];
    int port;
    pid_t pid;
    pid_t owner;
    int stop_signal;
} server;

static SERVER_UNUSED __attribute__((noreturn)) void server_skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(SERVER_SKIP);
}

static SERVER_UNUSED __attribute__((noreturn)) void server_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* The user to be when root: user, or nobody. */
static inline const struct passwd *server_user(const char *user)
{
    if (getuid() != 0)
        return NULL;
    const struct passwd *entry = getpwnam(user);
    if (!entry && !(entry = getpwnam("nobody")))
        server_die("no user for the server");
    return entry;
}

static int server_remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static void server_stop(void)
{
    if (server.owner != getpid())
        return; /* a child that exits */
    if (server.pid > 0) {
        kill(server.pid, server.stop_signal);
        waitpid(server.pid, NULL, 0);
    }
    nftw(server.directory, server_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int server_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        server_die("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

/* Makes the directory, which the user owns, finds a port, and lets the process have as many descriptors as it may. */
static inline void server_prepare(const char *user)
{
    const struct passwd *entry = server_user(user);
    snprintf(server.directory, sizeof server.directory, "/tmp/weft_server_XXXXXX");
    if (!mkdtemp(server.directory))
        server_die("no directory");
    server.owner = getpid();
    atexit(server_stop);
    if (entry && chown(server.directory, entry->pw_uid, entry->pw_gid) != 0)
        server_die("chown");
    server.port = server_free_port();
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

/* Starts a program as the user, with its output in the directory's file "log". It ends with us, by the signal. */
static pid_t server_run(const char *user, int death_signal, char *const arguments[])
{
    const struct passwd *entry = server_user(user);
    fflush(NULL);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    char log[128];
    snprintf(log, sizeof log, "%s/log", server.directory);
    unsetenv("LD_PRELOAD"); /* what the test may run under is not for the server */
    if (chdir(server.directory) != 0 || (entry && (setgid(entry->pw_gid) != 0 || setuid(entry->pw_uid) != 0)) ||
        prctl(PR_SET_PDEATHSIG, death_signal) != 0)
        _exit(126);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
    if (fd < 0 || null < 0 || dup2(null, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    execvp(arguments[0], arguments);
    _exit(127);
}

static SERVER_UNUSED void server_show_log(void)
{
    char path[128], text[4096];
    snprintf(path, sizeof path, "%s/log", server.directory);
    FILE *log = fopen(path, "re");
    for (size_t n; log && (n = fread(text, 1, sizeof text, log)) > 0;)
        fwrite(text, 1, n, stderr);
    if (log)
        fclose(log);
}

/* Runs a program to its end: its exit status. */
static SERVER_UNUSED int server_run_once(const char *user, char *const arguments[])
{
    int status = 0;
    pid_t pid = server_run(user, SIGKILL, arguments);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        server_die(arguments[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Starts the server; returns when is_up says so. */
static inline void server_start(const char *user, int stop_signal, char *const arguments[], int (*is_up)(void))
{
    server.stop_signal = stop_signal;
    if ((server.pid = server_run(user, stop_signal, arguments)) < 0)
        server_die(arguments[0]);
    for (int i = 0; i < 3000; i++) {
        int status;
        if (waitpid(server.pid, &status, WNOHANG) == server.pid) {
            server.pid = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
                server_skip("the server's program is not installed");
            server_show_log();
            server_die("the server ended");
        }
        if (is_up())
            return;
        nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    server_show_log();
    server_die("the server does not answer");
}

/* Whether somebody listens on the port. */
static SERVER_UNUSED int server_listens(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)server.port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int up = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return up;
}

#endif
