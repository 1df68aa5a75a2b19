/* libFuzzer target of httpd's request path: all of it, from the descriptor to the answers, with files and routes.

   The input is what a client sends; its first byte says how it is cut into pieces. Each piece is a packet
   (SOCK_SEQPACKET), so that a read gets exactly one, whatever the timing. Every input is served whole and cut, and
   judged:
   - the answers are well-formed, but for the last, which may be cut off;
   - the answers are the same both ways, but for the last (an error behind good data of a body may come before or behind the
     beginning of the answer);
   - nothing that lies outside the root is among them.

   weft_sleep is a macro here (CMakeLists.txt), so that /api/time takes no time. */
#define _GNU_SOURCE 1 /* memmem */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUIRE(condition)                                                                                                  \
    ((condition) ? (void)0 : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition), abort()))

enum { INPUT_MOST = 8192, ANSWERS = 1024, PIECE_MOST = 1024 /* what a connection without buffers reads */ };

static const char secret[] = "this lies outside the root";
static char directory[] = "/tmp/fuzz_http.XXXXXX";
static struct server server;

/* ---- the tree that is served ---- */

static void put_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    REQUIRE(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static const char *const files[] = {"root/index.html", "root/a.txt", "root/empty", "root/sub/index.html",
                                    "root/.hidden",    "root/in",    "root/out",   "secret",
                                    "root/sub",        "root",       "."};

static void remove_tree(void)
{
    if (chdir(directory) == 0)
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            if (remove(files[i]) != 0)
                rmdir(i == sizeof files / sizeof *files - 1 ? directory : files[i]);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(here >= 0 && mkdtemp(directory) != NULL && chdir(directory) == 0);
    atexit(remove_tree);
    REQUIRE(mkdir("root", 0700) == 0 && mkdir("root/sub", 0700) == 0);
    put_file("root/index.html", "<p>index</p>\n");
    put_file("root/a.txt", "0123456789abcdef\n");
    put_file("root/empty", "");
    put_file("root/sub/index.html", "<p>sub</p>\n");
    put_file("root/.hidden", secret);
    put_file("secret", secret);
    REQUIRE(symlink("a.txt", "root/in") == 0 && symlink("../secret", "root/out") == 0);

    struct options options = default_options;
    options.root = "root";
    options.max_body = 2048;
    options.max_header = 1024;
    options.max_requests = 50;
    REQUIRE(server_start(&server, &options) == 0);
    REQUIRE(fchdir(here) == 0);
    close(here);
    return 0;
}

/* ---- serving ---- */

struct output {
    size_t length;
    char data[1 << 22];
};

int fuzz_sleep(int64_t ns)
{
    (void)ns;
    return 0;
}

static void serve(int fd, weft_waitgroup *done)
{
    connection_serve(&server, fd);
    weft_wg_done(done);
}

/* cuts NULL: whole, by a stream, in which it all lies before anybody reads. */
static void run(const uint8_t *data, size_t size, const size_t *cuts, int count, struct output *output)
{
    int ends[2];
    size_t from = 0;
    REQUIRE(socketpair(AF_UNIX, (cuts != NULL ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends) == 0);
    for (int i = 0; i <= count; i++) {
        size_t to = i < count ? cuts[i] : size;
        for (size_t length; from < to; from += length) {
            length = cuts != NULL && to - from > PIECE_MOST ? PIECE_MOST : to - from;
            REQUIRE(send(ends[0], data + from, length, 0) == (ssize_t)length);
        }
    }
    REQUIRE(shutdown(ends[0], SHUT_WR) == 0);

    weft_waitgroup done = {0};
    weft_wg_add(&done, 1);
    weft_go(serve, ends[1], &done);
    output->length = 0;
    for (;;) {
        ssize_t n = recv(ends[0], output->data + output->length, sizeof output->data - output->length - 1, 0);
        if (n < 0 && errno == EINTR) /* libFuzzer's alarm */
            continue;
        REQUIRE(n >= 0);
        if (n == 0)
            break;
        output->length += (size_t)n;
    }
    weft_wg_wait(&done);
    close(ends[0]);
    output->data[output->length] = '\0';
}

/* ---- judging ---- */

struct answer {
    int status;
    bool cut;
    size_t length; /* of the body, which is moved to where the answer began */
    const char *body;
};

/* A chunked body at p: moves its data to `to`; gives where it ends, NULL when it is cut. */
static char *unchunk(char *p, char *end, char *to, size_t *length)
{
    for (;;) {
        char *line = memmem(p, (size_t)(end - p), "\r\n", 2), *stop;
        if (line == NULL)
            return NULL;
        REQUIRE(line > p && *p != '+' && *p != '-' && *p != ' ');
        size_t size = strtoul(p, &stop, 16);
        REQUIRE(stop == line);
        p = line + 2;
        if (size > (size_t)(end - p))
            return NULL;
        memmove(to + *length, p, size);
        *length += size;
        p += size;
        if (end - p < 2)
            return NULL;
        REQUIRE(p[0] == '\r' && p[1] == '\n');
        p += 2;
        if (size == 0)
            return p;
    }
}

/* Answers to HEAD announce a body and have none; they are told by what follows. */
static bool looks_like_answer(const char *p, const char *end)
{
    return p == end || ((size_t)(end - p) >= 9 && memcmp(p, "HTTP/1.1 ", 9) == 0);
}

static int parse_answers(struct output *output, struct answer *answers)
{
    int n = 0;
    char *p = output->data, *end = p + output->length;
    while (p < end) {
        char *head_end = memmem(p, (size_t)(end - p), "\r\n\r\n", 4), *begin = p;
        REQUIRE(n < ANSWERS);
        struct answer *a = &answers[n++];
        *a = (struct answer){.cut = head_end == NULL, .body = begin};
        if (head_end == NULL)
            break;
        REQUIRE(memcmp(p, "HTTP/1.1 ", 9) == 0);
        a->status = atoi(p + 9);
        REQUIRE(a->status == 100 || (a->status >= 200 && a->status < 600 && a->status != 500));
        for (char *q = p; q < head_end; q++)
            REQUIRE((unsigned char)*q >= ' ' || *q == '\t' || (q[0] == '\r' && q[1] == '\n') ||
                    (q[0] == '\n' && q[-1] == '\r'));
        size_t head = (size_t)(head_end - p) + 4;
        char *field = memmem(p, head, "\r\nContent-Length: ", 18);
        bool chunked = memmem(p, head, "\r\nTransfer-Encoding: chunked\r\n", 30) != NULL;
        REQUIRE(field == NULL || !chunked);
        bool closes = memmem(p, head, "\r\nConnection: close\r\n", 21) != NULL;
        p += head;
        if (chunked && (p == end || !looks_like_answer(p, end))) {
            p = unchunk(p, end, begin, &a->length);
            a->cut = p == NULL;
            p = p != NULL ? p : end;
        } else if (field != NULL) {
            size_t length = strtoul(field + 18, NULL, 10);
            a->cut = length > (size_t)(end - p) || !looks_like_answer(p + length, end);
            if (a->cut && looks_like_answer(p, end)) { /* HEAD */
                a->cut = false;
                length = 0;
            } else if (a->cut) {
                length = (size_t)(end - p);
            }
            a->length = length;
            memmove(begin, p, length);
            p += length;
        } else if (!chunked && closes && a->status == 200) { /* the end of the connection is that of the body */
            a->length = (size_t)(end - p);
            memmove(begin, p, a->length);
            p = end;
        }
        REQUIRE(!closes || p == end);
        REQUIRE(!a->cut || p == end);
    }
    return n;
}

static bool same(const struct answer *a, const struct answer *b)
{
    return a->status == b->status && a->cut == b->cut && a->length == b->length && memcmp(a->body, b->body, a->length) == 0;
}

/* The route whose answers depend on the time. */
static bool changes(const uint8_t *data, size_t size)
{
    return memmem(data, size, "stats", 5) != NULL || memmem(data, size, "time", 4) != NULL ||
           memmem(data, size, "%", 1) != NULL; /* encoded, perhaps */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct output whole, cut;
    static struct answer expected[ANSWERS], got[ANSWERS];
    size_t cuts[INPUT_MOST];
    int count = 0;
    if (size < 2 || size > INPUT_MOST)
        return 0;
    uint8_t how = *data++;
    size--;
    if (how < 64) { /* one cut */
        cuts[count++] = 1 + how * size / 64;
    } else if (how < 128) { /* pieces of one size, 1 to 64 bytes; few enough for a queue of packets */
        size_t piece = 1 + (how & 63);
        for (size_t at = piece; at < size && count < 200; at += piece)
            cuts[count++] = at;
    } else { /* pieces of sizes that look random */
        uint32_t state = how;
        for (size_t at = 0; count < 200; cuts[count++] = at) {
            state = state * 1664525u + 1013904223u;
            at += 1 + (state >> 24);
            if (at >= size)
                break;
        }
    }
    run(data, size, NULL, 0, &whole);
    run(data, size, cuts, count, &cut);
    if (memmem(data, size, secret, sizeof secret - 1) == NULL) { /* else an echo may have it */
        REQUIRE(memmem(whole.data, whole.length, secret, sizeof secret - 1) == NULL);
        REQUIRE(memmem(cut.data, cut.length, secret, sizeof secret - 1) == NULL);
    }
    int n = parse_answers(&whole, expected), m = parse_answers(&cut, got);
    if (changes(data, size))
        return 0;
    for (int i = 0; i < n && i < m; i++) {
        bool last = i == n - 1 || i == m - 1;
        if (same(&expected[i], &got[i]) || (last && (expected[i].cut || got[i].cut)))
            continue;
        fprintf(stderr, "answer %d: status %d, %zu bytes%s, when whole; status %d, %zu bytes%s, when cut\n", i,
                expected[i].status, expected[i].length, expected[i].cut ? " cut off" : "", got[i].status, got[i].length,
                got[i].cut ? " cut off" : "");
        abort();
    }
    if (n != m) {
        fprintf(stderr, "%d answers when whole, %d when cut\nwhole:\n%s\ncut:\n%s\n", n, m, whole.data, cut.data);
        abort();
    }
    return 0;
}
