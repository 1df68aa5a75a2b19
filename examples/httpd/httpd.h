/* httpd.h — what the parts of httpd share.

     main.c        options, signals, the beginning and the end
     server.c      accepts connections, knows them, ends them
     connection.c  one goroutine per connection: reads, answers, writes; its buffers and its deadlines
     request.c     what a client sends, by llhttp, and what httpd refuses beyond that
     response.c    what it gets
     api.c         the routes under /api/
     files.c       files: conditions, ranges, sending;  path.c: from a target to a descriptor beneath the root
     date.c, types.c                                    dates of HTTP, types of contents

   Everything is written as if a connection had a thread to itself: each call that waits (a read, a write, a sleep)
   waits for this connection only. What ends a wait early is the descriptor's deadline, or the server's context, when
   httpd stops.

   A failed write is remembered (connection.broken) and all later output dropped, so that only the loop in connection.c
   looks at it. */
#ifndef HTTPD_H
#define HTTPD_H

#include <llhttp.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <weft.h>

enum {
    INPUT = 16384,  /* bytes: the head of a request, and a piece of its body */
    OUTPUT = 16384, /* bytes of answers that are written at once */
    PATH = 4096,    /* the longest path of a file, with its end */
    FIRST = 1024,   /* bytes of a request that a connection without buffers has room for: most are smaller */
    FIELDS = 100,   /* header fields of a request */
    POOLS = 8,
};

struct options {
    const char *listen, *root; /* root NULL: no files */
    bool symlinks;             /* follow symbolic links that stay beneath the root */
    bool log;                  /* a line per request on standard output */
    int64_t header_ns, body_ns, idle_ns, write_ns, stop_ns;
    int64_t max_header, max_body, max_requests, max_connections;
};
extern const struct options default_options;

/* ---- server.c ---- */

struct server {
    struct options options;
    int root;                 /* what files are beneath, -1: none */
    weft_ctx *ctx;            /* what connections run in; its end ends them all */
    _Atomic bool stopping;    /* answers say "Connection: close" */
    weft_sem places;          /* connections that may be opened */
    weft_waitgroup running;   /* goroutines of connections */
    int64_t started_ns;       /* by weft_now */
    weft_mutex mutex;         /* guards what follows */
    weft_cond left;           /* a connection has ended */
    struct connection *first; /* those that are open */
    uint64_t open, accepted;  /* how many are, and ever were */
    uint64_t served;          /* requests of those that have ended */
    struct pool {             /* of buffers, by the connection's number: several, because all use them all the time */
        _Alignas(64) weft_mutex mutex;
        struct buffers *first; /* [mutex] as the rest */
        int count;
    } pools[POOLS];
};

/* 0, or a negative errno. */
int server_start(struct server *server, const struct options *options);
/* Serves what comes to the listening descriptor until the context of the caller ends; gives the error that ended it. */
int server_accept(struct server *server, int listener);
/* Ends all connections: idle ones at once, others when their request is answered, or after options.stop_ns. Gives the
   number of those that were cut off. */
uint64_t server_stop(struct server *server);
void server_free(struct server *server);

struct connection;
/* A connection begins and ends. */
void server_enter(struct connection *c);
void server_leave(struct connection *c);

struct counts {
    uint64_t open, accepted, served;
};
struct counts server_counts(struct server *server);

/* ---- request.c ---- */

/* The header fields that httpd reads. None may come twice. */
enum field {
    CONTENT_LENGTH,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    TRANSFER_ENCODING,
    FIELD_COUNT,
    OTHER = FIELD_COUNT,
};

struct span {
    const char *at;
    size_t length;
};

struct request {
    /* Offsets into the input, counted from the first byte of the head, which may be moved until it is complete. */
    struct {
        uint32_t at, length;
    } target, name, value[FIELD_COUNT];
    uint32_t seen;       /* bits of enum field */
    int fields;          /* how many, of any name */
    enum field field;    /* whose value comes now */
    bool has_head;       /* all of it has come */
    bool complete;       /* and all of the body */
    bool keep_alive;     /* the client allows it */
    bool continue_asked; /* it waits for "100 Continue" before it sends the body */
    int refused;         /* 0, or the status that says why the request cannot be taken */
    int64_t until_ns;    /* when the part that comes now must have come */
    size_t data;         /* where the piece of the body is, and its length */
    size_t data_length;
    int64_t raw, decoded; /* bytes of the body so far */
    char last_raw;        /* the last byte of the body before the input now */
    /* For the log. */
    int status;
    int64_t sent;
};

/* Waits for the head of the next request. 0: it is there. Negative: there is none, and nothing to be said. Else the
   status that is to be sent before the connection is closed. */
int request_receive(struct connection *c);
/* The next piece of the body: its length; 0 at the end; negative: it cannot be had, and the connection will be closed;
   request.refused is then the status to be sent if nothing was answered yet, or negative. The piece is valid until the
   next call. */
ssize_t request_body(struct connection *c, const char **data);
/* The request is answered, and its body was read: the next one begins behind it. */
void request_end(struct connection *c);
/* The value of a field without the blanks around it; length 0 when there is none. */
struct span request_field(const struct connection *c, enum field field);
struct span request_target(const struct connection *c);
bool request_has(const struct connection *c, enum field field);
bool span_is(struct span span, const char *text); /* whatever the case */
bool span_is_host(struct span span);              /* has the characters of one, perhaps with a port */

/* ---- connection.c ---- */

/* What a connection needs while requests come; an idle one gives it back. */
struct buffers {
    struct buffers *next; /* when free */
    llhttp_t parser;
    struct request request;
    size_t start, parsed, scanned, end; /* in the input: the request begins; llhttp and scan_head have come to; it ends */
    size_t filled;                      /* the output */
    time_t date_second;                 /* what date holds */
    char date[32];
    char input[INPUT], output[OUTPUT], path[PATH];
};

struct connection {
    struct connection *next, **link; /* [server.mutex] */
    struct server *server;
    int fd;
    _Atomic bool busy;       /* with a request; written by its goroutine only, as all below */
    _Atomic uint64_t served; /* requests */
    bool closing;            /* after this answer */
    bool broken;             /* it can no longer be written to */
    int64_t now_ns;          /* the time after the last wait */
    int64_t read_by_ns;      /* the descriptor's deadline */
    struct buffers *b;       /* NULL: it has no request */
    char first[FIRST];       /* last: what is above lies beside the frames of who serves the connection */
};

/* Serves fd, which it closes, until it ends. */
void connection_serve(struct server *server, int fd);
/* Writes what is to be written, then reads at least one byte to the end of the input. The number of bytes, 0 at the end;
   -ETIMEDOUT from deadline_ns on. */
ssize_t connection_fill(struct connection *c, int64_t deadline_ns);
/* Moves the request, and what came after it, down to the begin of the input: nothing may point to it. */
void connection_move_down(struct buffers *b);
void connection_flush(struct connection *c);
/* Room for n bytes of output, n <= OUTPUT; they count once filled is advanced. */
char *connection_room(struct connection *c, size_t n);
/* Sends length bytes of file from offset on, after what is in the output. */
void connection_send_file(struct connection *c, int file, int64_t offset, int64_t length);

/* ---- response.c ---- */

/* The head of an answer, up to where more fields may follow. length: of the body; STREAMED: it is not known. */
enum { STREAMED = -1, NO_BODY = -2 };
void response_begin(struct connection *c, int status, const char *type, int64_t length);
void response_field(struct connection *c, const char *name, const char *value);
void response_put(struct connection *c, struct span text);
void response_end_head(struct connection *c);
/* All of an answer. */
void response_text(struct connection *c, int status, const char *type, const char *body, size_t length);
void response_status(struct connection *c, int status);
void response_not_allowed(struct connection *c, const char *allow);
/* Parts of a body whose length is not known. */
void response_stream(struct connection *c, const char *data, size_t length);
void response_end_stream(struct connection *c);
/* "100 Continue" */
void response_continue(struct connection *c);
bool response_is_head_only(const struct connection *c); /* of a HEAD request */

/* ---- api.c, files.c, path.c, date.c, types.c ---- */

/* Answer requests for /api/path and for files. */
struct target;
void api_answer(struct connection *c, const char *path, struct span query);
void files_answer(struct connection *c, char *path, const struct target *target);

struct target {
    struct span given, query; /* the path as it came, and what is behind '?'; empty when there is none */
};
/* Parses a request's target; path is the path decoded, relative to the root, zero-terminated. 0, or a status. */
int path_parse(struct span text, char path[PATH], struct target *target);
/* Opens what is beneath root at path, which is relative; never what is elsewhere. A descriptor, or a negative errno. */
int path_open(const struct server *server, const char *path);

enum { DATE = 29 };                     /* the length of a date */
void date_write(char *to, time_t when); /* DATE bytes, no zero */
time_t date_parse(struct span text);    /* -1: it is none */

const char *type_of(const char *path);

#endif
