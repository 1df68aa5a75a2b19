/* crawl: what its parts share.

     main.c    options and the report
     crawl.c   the pages: each is a goroutine that fetches it and starts one for every new page that it links to
     fetch.c   HTTP requests over connections that are kept
     links.c   what an HTML page links to, and the places in it that can be linked to; URLs */
#ifndef CRAWL_H
#define CRAWL_H

#include <libxml/hash.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weft.h>

/* The place that is crawled, and how. [const] while it is. */
struct site {
    char *origin;  /* "http://host:port" */
    char *address; /* "host:port", to dial */
    char *host;    /* as the request names it */
    int64_t jobs;
    int64_t timeout_ns; /* for a request */
};

struct response {
    int status;
    char *location; /* of a redirect, or NULL */
    bool html;
    char *body; /* of an HTML page */
    size_t size, room;
    size_t received; /* bytes of the body, of whatever it is */
};

/* Requests a path with its query. 0, or a negative errno: -EPROTO if what came is no HTTP, -ETIMEDOUT, -EFBIG. Blocks. */
int fetch(const struct site *site, const char *path, struct response *response);
void response_clear(struct response *response);
/* Closes the kept connections. */
void fetch_end(void);

struct page {
    struct page *next; /* in the order of discovery */
    const char *url;   /* [const] without a fragment */
    bool external;     /* [const] not of this site: not looked at */
    /* What its goroutine found out: */
    int status, error;
    struct page *redirect; /* where its redirect leads, or NULL */
    xmlHashTable *ids;     /* of an HTML page: its places; else NULL */
    struct link *links;
};

struct link {
    struct link *next;
    struct page *to;      /* NULL: no URL */
    const char *text;     /* the URL with its fragment; or what is none */
    const char *fragment; /* in text, behind the #; or NULL */
};

/* What is called for a link: url, or, when that is NULL, what stands there and is no URL. */
typedef void (*link_found)(struct page *page, const char *url, const char *text);
/* Finds the links and the places of a page that is HTML. */
void page_parse(struct page *page, const struct response *response, link_found add_link);
/* What a reference in a document with the URL base means: to be freed. NULL: it is no URL. */
char *url_resolve(const char *base, const char *reference);
/* Whether the page has a place of this name. */
bool page_has_place(const struct page *page, const char *fragment);

struct totals {
    size_t pages, links, bytes;
};

/* Crawls from a URL on, which may lead elsewhere by redirects: all pages, in a list. Blocks. */
struct page *crawl(const struct site *site, const char *url, struct totals *totals);

/* Memory, or the end of the program. */
void *or_die(void *memory);

#endif
