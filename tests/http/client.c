/* A client that can misbehave, for tests/examples/httpd.sh. It uses nothing of weft or of httpd.

     client ADDRESS STEP...          speaks over one connection, step by step:
         send=TEXT       sends it; \r \n \t \0 \\ \xHH are bytes, \{TEXT*N} is N times TEXT
         slow=MS:TEXT    sends it byte by byte, one every MS milliseconds, until the server answers or closes
         expect=TEXT     reads until TEXT has come
         count=N:TEXT    reads until TEXT has come N times
         quiet=MS        nothing may come for so long
         half            sends no more
         eof             reads until the server closes; what has come must be complete, no reset
         closed=MS:MS    the server closes, with or without a reset, this long after the connection was made
         without=TEXT    what has come so far must not contain TEXT
         print           prints what has come and forgets it
         sleep=MS
     client ADDRESS many N           opens N connections, sends a request on each, waits for all answers, leaves them
                                     idle until standard input ends
     client ADDRESS corpus FILE...   the cases of corpus/: each line STATUS[,STATUS...] NAME: TEXT; sent whole, byte by
                                     byte, and behind a good request. The server must answer with one of the statuses
                                     once and then close. "-": closes without an answer; "200cut": a chunked answer
                                     that has no end.
     client DIRECTORY export FILE... writes the cases' bytes to files, as seeds for a fuzzer: behind a byte '\200',
                                     which says how they are cut

   The status is 0 when all went as it should. */
#define _GNU_SOURCE 1 /* memmem */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 }; /* a server that needs longer hangs */

struct bytes {
    char *at;
    size_t length, capacity;
};

static void add(struct bytes *b, const char *data, size_t length)
{
    if (b->length + length + 1 > b->capacity) {
        b->capacity = 2 * (b->length + length + 1);
        b->at = realloc(b->at, b->capacity);
        if (b->at == NULL)
            abort();
    }
    memcpy(b->at + b->length, data, length);
    b->length += length;
    b->at[b->length] = '\0';
}

static const char *what = "client"; /* the case or the steps, for messages */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "client: %s: ", what);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* ---- text with escapes ---- */

/* Appends the bytes that text stands for, up to its end or to the '*' of the repetition that it is in; gives where it
   ended. */
static const char *decode(struct bytes *into, const char *text, bool repeated)
{
    while (*text != '\0' && !(repeated && *text == '*')) {
        if (*text != '\\') {
            add(into, text++, 1);
            continue;
        }
        char ch = text[1];
        text += 2;
        if (ch == '{') {
            struct bytes part = {0};
            text = decode(&part, text, true);
            char *end;
            long times = *text == '*' ? strtol(text + 1, &end, 10) : -1;
            if (times < 0 || *end != '}' || part.at == NULL)
                fail("a repetition that has no '*N}'");
            for (long i = 0; i < times; i++)
                add(into, part.at, part.length);
            free(part.at);
            text = end + 1;
        } else if (ch == 'x') {
            char digits[3] = {text[0], text[0] != '\0' ? text[1] : '\0', '\0'}, *end;
            ch = (char)strtol(digits, &end, 16);
            if (end != digits + 2)
                fail("\\x without two digits");
            add(into, &ch, 1);
            text += 2;
        } else {
            static const char from[] = "rnt0\\", to[] = {'\r', '\n', '\t', '\0', '\\'};
            const char *found = ch != '\0' ? strchr(from, ch) : NULL;
            if (found == NULL)
                fail("unknown escape in '%s'", text - 2);
            add(into, to + (found - from), 1);
        }
    }
    return text;
}

/* ---- the connection ---- */

static struct sockaddr_in address;

static void parse_address(const char *text)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        fail("%s: not HOST:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("%s: no address", host);
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Sends all, reading meanwhile, so that neither side waits for the other. False: the server has closed. */
static bool send_all(int fd, const char *data, size_t length, struct bytes *received)
{
    while (length > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
        if (poll(&p, 1, PATIENCE_MS) == 0)
            fail("the server takes nothing");
        if (p.revents & POLLIN) {
            char buffer[65536];
            ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
            if (n == 0 || (n < 0 && errno != EAGAIN))
                return false;
            if (n > 0)
                add(received, buffer, (size_t)n);
        }
        if (p.revents & POLLOUT) {
            ssize_t n = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN)
                return false;
            data += n > 0 ? n : 0;
            length -= n > 0 ? (size_t)n : 0;
        } else if (p.revents & (POLLHUP | POLLERR)) {
            return false;
        }
    }
    return true;
}

enum came { DATA, END, RESET, TIMEOUT };

static enum came receive(int fd, struct bytes *received, int timeout_ms)
{
    char buffer[65536];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) == 0)
        return TIMEOUT;
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n > 0)
        add(received, buffer, (size_t)n);
    return n > 0 ? DATA : n == 0 ? END : RESET;
}

static size_t occurrences(const struct bytes *b, const struct bytes *of)
{
    size_t n = 0;
    for (const char *p = b->at; p != NULL && of->length > 0; n++) {
        p = memmem(p, b->length - (size_t)(p - b->at), of->at, of->length);
        if (p == NULL)
            break;
        p += of->length;
    }
    return n;
}

/* ---- steps ---- */

struct talk {
    int fd;
    int64_t began_ms;
    struct bytes received;
    bool ended;
};

static void wait_for(struct talk *t, const char *text, size_t times)
{
    struct bytes wanted = {0};
    decode(&wanted, text, false);
    while (occurrences(&t->received, &wanted) < times) {
        enum came came = t->ended ? END : receive(t->fd, &t->received, PATIENCE_MS);
        t->ended |= came == END;
        if (came != DATA)
            fail("'%s' did not come %zu times before the %s; but: %s", text, times,
                 came == TIMEOUT ? "patience ended"
                 : came == END   ? "connection ended"
                                 : "reset",
                 t->received.at != NULL ? t->received.at : "nothing");
    }
    free(wanted.at);
}

static void slowly(struct talk *t, const char *text)
{
    char *rest;
    struct bytes data = {0};
    int ms = (int)strtol(text, &rest, 10);
    decode(&data, rest + 1, false);
    for (size_t i = 0; i < data.length; i++) {
        if (send(t->fd, data.at + i, 1, MSG_NOSIGNAL) < 0 || receive(t->fd, &t->received, ms) != TIMEOUT)
            break;
    }
    free(data.at);
}

static void expect_closed(struct talk *t, const char *bounds)
{
    char *rest;
    long least = strtol(bounds, &rest, 10), most = strtol(rest + 1, NULL, 10);
    enum came came = DATA;
    while (came == DATA)
        came = receive(t->fd, &t->received, PATIENCE_MS);
    long took = (long)(now_ms() - t->began_ms);
    if (came == TIMEOUT)
        fail("not closed");
    if (took < least || took > most)
        fail("closed after %ld ms, not %ld to %ld", took, least, most);
}

static void step(struct talk *t, const char *text)
{
    const char *argument = strchr(text, '=');
    size_t length = argument != NULL ? (size_t)(argument - text) : strlen(text);
    struct bytes data = {0};
#define IS(name) (length == sizeof(name) - 1 && memcmp(text, name, length) == 0)
    argument = argument != NULL ? argument + 1 : "";
    if (IS("send")) {
        decode(&data, argument, false);
        if (!send_all(t->fd, data.at, data.length, &t->received))
            fail("the server closed while '%.40s' was sent", argument);
    } else if (IS("slow")) {
        slowly(t, argument);
    } else if (IS("expect")) {
        wait_for(t, argument, 1);
    } else if (IS("count")) {
        char *rest;
        size_t times = strtoul(argument, &rest, 10);
        wait_for(t, rest + 1, times);
    } else if (IS("quiet")) {
        if (receive(t->fd, &t->received, atoi(argument)) != TIMEOUT)
            fail("something came: %s", t->received.at);
    } else if (IS("half")) {
        shutdown(t->fd, SHUT_WR);
    } else if (IS("eof")) {
        enum came came = DATA;
        while (!t->ended && came == DATA)
            came = receive(t->fd, &t->received, PATIENCE_MS);
        if (came == TIMEOUT || came == RESET)
            fail(came == RESET ? "reset" : "not closed");
    } else if (IS("closed")) {
        expect_closed(t, argument);
    } else if (IS("without")) {
        decode(&data, argument, false);
        if (occurrences(&t->received, &data) > 0)
            fail("'%s' came: %s", argument, t->received.at);
    } else if (IS("print")) {
        fwrite(t->received.at, 1, t->received.length, stdout);
        t->received.length = 0;
    } else if (IS("sleep")) {
        poll(NULL, 0, atoi(argument));
    } else {
        fail("no such step: %s", text);
    }
#undef IS
    free(data.at);
}

/* ---- many ---- */

static void many(int n)
{
    static const char request[] = "GET /api/hello HTTP/1.1\r\nHost: a\r\n\r\n";
    int *fds = calloc((size_t)n, sizeof *fds);
    struct rlimit limit;
    if (fds == NULL || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < (rlim_t)n + 10)
        fail("no memory, or too few descriptors");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < n; i++) {
        fds[i] = dial();
        if (send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL) < 0)
            fail("send: %s", strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        struct bytes received = {0};
        if (receive(fds[i], &received, PATIENCE_MS) != DATA || strncmp(received.at, "HTTP/1.1 200 ", 13) != 0)
            fail("connection %d was not answered", i);
        free(received.at);
    }
    puts("all answered");
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    free(fds);
}

/* ---- corpus ---- */

static const char good[] = "GET /api/hello HTTP/1.1\r\nHost: a\r\n\r\n";

/* The length of the first answer in data, 0: it has no end, or there is none. */
static size_t answer_length(const char *data, size_t length)
{
    const char *end = memmem(data, length, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    const char *field = memmem(data, head, "\r\nContent-Length: ", 18);
    if (field != NULL)
        return head + strtoul(field + 18, NULL, 10) <= length ? head + strtoul(field + 18, NULL, 10) : 0;
    if (memmem(data, head, "\r\nTransfer-Encoding: chunked", 28) == NULL)
        return head;
    const char *last = memmem(data + head - 2, length - head + 2, "\r\n0\r\n\r\n", 7);
    return last != NULL ? (size_t)(last - data) + 7 : 0;
}

/* NULL, or what is wrong with what came. */
static const char *judge(const char *statuses, const char *data, size_t length, bool behind_good)
{
    if (behind_good) {
        size_t first = length > 0 ? answer_length(data, length) : 0;
        if (first == 0 || strncmp(data, "HTTP/1.1 200 OK\r\n", 17) != 0)
            return "the good request before was not answered";
        data += first;
        length -= first;
    }
    if (strcmp(statuses, "-") == 0)
        return length == 0 ? NULL : "something came";
    if (length < 14 || strncmp(data, "HTTP/1.1 ", 9) != 0)
        return length == 0 ? "nothing came" : "no answer came";
    size_t answer = answer_length(data, length);
    if (answer == 0) /* cut */
        return strstr(statuses, "200cut") != NULL && strncmp(data + 9, "200", 3) == 0 ? NULL : "the answer has no end";
    char status[4] = {data[9], data[10], data[11], '\0'};
    const char *found = strstr(statuses, status);
    if (found == NULL || found[3] == 'c')
        return "another status";
    if (length != answer)
        return "more than one answer";
    return NULL;
}

enum way { WHOLE, BYTES, BEHIND_GOOD, WAYS };

static bool run_case(const char *statuses, const struct bytes *input, enum way way)
{
    static const char *const names[] = {"whole", "byte by byte", "behind a good request"};
    struct bytes received = {0}, sent = {0};
    int fd = dial();
    if (way == BEHIND_GOOD)
        add(&sent, good, sizeof good - 1);
    add(&sent, input->at != NULL ? input->at : "", input->length);
    bool open = true;
    if (way != BYTES)
        open = send_all(fd, sent.at, sent.length, &received);
    else
        for (size_t i = 0; i < sent.length && open; i++)
            open = send_all(fd, sent.at + i, 1, &received);
    shutdown(fd, SHUT_WR);
    enum came came = DATA;
    while (came == DATA)
        came = receive(fd, &received, PATIENCE_MS);
    close(fd);
    const char *wrong = came == TIMEOUT ? "the connection hangs" : came == RESET ? "a reset" : NULL;
    if (wrong == NULL)
        wrong = judge(statuses, received.at != NULL ? received.at : "", received.length, way == BEHIND_GOOD);
    if (wrong != NULL)
        fprintf(stderr, "client: %s, %s: %s; expected %s; came:\n%.300s\n", what, names[way], wrong, statuses,
                received.at != NULL ? received.at : "");
    free(received.at);
    free(sent.at);
    return wrong == NULL;
}

static void export(const char *directory, const char *name, const struct bytes *input)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    if (file == NULL || fputc(0200, file) == EOF || (input->length > 0 && fwrite(input->at, input->length, 1, file) != 1) ||
        fclose(file) != 0)
        fail("%s: %s", path, strerror(errno));
}

/* directory: where to write the cases, or NULL to try them. */
static int corpus(char **files, const char *directory)
{
    int cases = 0, failures = 0;
    char *line = NULL;
    size_t capacity = 0;
    for (; *files != NULL; files++) {
        FILE *file = fopen(*files, "r");
        if (file == NULL)
            fail("%s: %s", *files, strerror(errno));
        for (ssize_t n; (n = getline(&line, &capacity, file)) > 0;) {
            line[n - 1] = '\0';
            char *name = strchr(line, ' '), *colon = name != NULL ? strstr(name, ": ") : NULL;
            if (line[0] == '#')
                continue;
            if (colon == NULL)
                fail("%s: a line that is none: %s", *files, line);
            *name++ = '\0';
            *colon = '\0';
            what = name;
            struct bytes input = {0};
            decode(&input, colon + 2, false);
            cases++;
            if (directory != NULL)
                export(directory, name, &input);
            for (enum way way = 0; way < WAYS && directory == NULL; way++)
                failures += !run_case(line, &input, way);
            free(input.at);
        }
        fclose(file);
    }
    free(line);
    if (directory == NULL)
        printf("%d cases, %d ways each, %d failures\n", cases, WAYS, failures);
    return failures > 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: client ADDRESS STEP... | many N | corpus FILE...\n", stderr);
        return 2;
    }
    if (strcmp(argv[2], "export") == 0)
        return corpus(argv + 3, argv[1]);
    parse_address(argv[1]);
    if (strcmp(argv[2], "corpus") == 0)
        return corpus(argv + 3, NULL);
    if (strcmp(argv[2], "many") == 0 && argc == 4) {
        many(atoi(argv[3]));
        return 0;
    }
    struct talk talk = {.began_ms = now_ms()};
    talk.fd = dial();
    for (int i = 2; i < argc; i++) {
        what = argv[i];
        step(&talk, argv[i]);
    }
    free(talk.received.at);
    close(talk.fd);
    return 0;
}
