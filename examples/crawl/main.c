/* crawl: follows the links of a site and reports those that lead nowhere. Options and the report. */
#define _GNU_SOURCE 1 /* asprintf */
#include "crawl.h"

#include <errno.h>
#include <getopt.h>
#include <libxml/parser.h>
#include <libxml/uri.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REDIRECTS_MAX = 10 };

void *or_die(void *memory)
{
    if (memory == NULL) {
        fputs("crawl: out of memory\n", stderr);
        exit(2);
    }
    return memory;
}

/* ---- the report ---- */

static void describe_page(const struct page *page, char *text, size_t size)
{
    if (page->error != 0)
        snprintf(text, size, "%s", strerror(-page->error));
    else
        snprintf(text, size, "HTTP status %d", page->status);
}

/* What is wrong with where a link leads, in text; false: nothing. */
static bool is_broken(const struct page *to, const char *fragment, char *text, size_t size)
{
    for (int hops = 0; to != NULL && to->redirect != NULL; hops++) {
        if (hops == REDIRECTS_MAX) {
            snprintf(text, size, "too many redirects");
            return true;
        }
        to = to->redirect;
    }
    if (to == NULL) {
        snprintf(text, size, "malformed");
        return true;
    }
    if (to->external)
        return false;
    if (to->error != 0 || to->status != 200) {
        describe_page(to, text, size);
        return true;
    }
    if (fragment != NULL && to->ids != NULL && !page_has_place(to, fragment)) {
        snprintf(text, size, "no such place in the page");
        return true;
    }
    return false;
}

struct lines {
    char **all;
    size_t n, room;
};

static void add_line(struct lines *lines, const char *from, const char *link, const char *why)
{
    if (lines->n == lines->room) {
        lines->room = lines->room > 0 ? 2 * lines->room : 64;
        lines->all = or_die(realloc(lines->all, lines->room * sizeof *lines->all));
    }
    char *line;
    if (asprintf(&line, "%s -> %s: %s", from, link, why) < 0)
        line = NULL;
    lines->all[lines->n++] = or_die(line);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Prints the broken links, sorted, each once. How many there are. */
static size_t report(const struct page *first)
{
    struct lines lines = {0};
    char why[128];
    if (is_broken(first, NULL, why, sizeof why))
        add_line(&lines, "(start)", first->url, why);
    for (const struct page *page = first; page != NULL; page = page->next)
        for (const struct link *link = page->links; link != NULL; link = link->next)
            if (is_broken(link->to, link->fragment, why, sizeof why))
                add_line(&lines, page->url, link->text, why);
    if (lines.n > 0)
        qsort(lines.all, lines.n, sizeof *lines.all, compare_lines);
    size_t count = 0;
    for (size_t i = 0; i < lines.n; i++)
        if (i == 0 || strcmp(lines.all[i], lines.all[i - 1]) != 0) {
            puts(lines.all[i]);
            count++;
        }
    for (size_t i = 0; i < lines.n; i++)
        free(lines.all[i]);
    free(lines.all);
    return count;
}

static void free_pages(struct page *page)
{
    for (struct page *next; page != NULL; page = next) {
        next = page->next;
        for (struct link *link = page->links, *after; link != NULL; link = after) {
            after = link->next;
            free((char *)link->text);
            free(link);
        }
        xmlHashFree(page->ids, NULL);
        free((char *)page->url);
        free(page);
    }
}

static int run(const struct site *site, const char *url)
{
    struct totals totals;
    int64_t start_ns = weft_now();
    struct page *pages = crawl(site, url, &totals);
    double seconds = (double)(weft_now() - start_ns) / 1e9;
    size_t broken = report(pages);
    fprintf(stderr, "crawl: %zu URLs and %zu links checked, %.1f MB, %.2f s, %.0f URLs/s: %zu broken\n", totals.pages,
            totals.links, (double)totals.bytes / 1e6, seconds, (double)totals.pages / seconds, broken);
    free_pages(pages);
    return fflush(stdout) != 0 ? 2 : broken > 0;
}

/* ---- options ---- */

static void usage(FILE *out)
{
    fputs("usage: crawl [-j N] [--timeout=SECONDS] URL\n"
          "Follows the links from a page, http://host[:port]/path, to all pages of the same host and port, each once, and "
          "reports\n"
          "those that lead nowhere, also to a #place that the page does not have. Other hosts are not looked at.\n"
          "\n"
          "  -j, --jobs=N           up to N requests at a time, 1 to 1000 (32)\n"
          "  --timeout=SECONDS      for one request (10)\n"
          "\n"
          "Exit status: 0 when all links are good, 1 when some are broken, 2 for wrong usage.\n",
          out);
}

static int64_t parse_number(const char *what, const char *text, long limit)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno == 0 && end != text && *end == '\0' && number >= 1 && number <= limit)
        return number;
    fprintf(stderr, "crawl: %s takes a number from 1 to %ld, not '%s'\n", what, limit, text);
    exit(2);
}

/* Fills the site from its URL, and gives that in the form in which it is compared. */
static char *parse_url(const char *text, struct site *site)
{
    char *url = url_resolve("", text);
    xmlURI *uri = url != NULL ? xmlParseURI(url) : NULL;
    if (uri == NULL || uri->scheme == NULL || strcmp(uri->scheme, "http") != 0 || uri->server == NULL || *uri->server == 0 ||
        uri->user != NULL) {
        fprintf(stderr, "crawl: '%s' is no URL of the form http://host[:port]/path\n", text);
        exit(2);
    }
    int length = asprintf(&site->address, "%s:%d", uri->server, uri->port > 0 ? uri->port : 80);
    site->host = or_die(uri->port > 0 ? strdup(length < 0 ? "" : site->address) : strdup(uri->server));
    if (length < 0 || asprintf(&site->origin, "http://%s", site->host) < 0)
        or_die(NULL);
    xmlFreeURI(uri);
    url[strcspn(url, "#")] = 0;
    return url;
}

int main(int argc, char **argv)
{
    enum { TIMEOUT = 256, HELP };
    static const struct option known[] = {
        {"jobs", required_argument, NULL, 'j'},
        {"timeout", required_argument, NULL, TIMEOUT},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    struct site site = {.jobs = 32, .timeout_ns = 10 * WEFT_SECOND};
    for (int option; (option = getopt_long(argc, argv, "j:", known, NULL)) != -1;) {
        switch (option) {
        case 'j':
            site.jobs = parse_number("-j", optarg, 1000);
            break;
        case TIMEOUT:
            site.timeout_ns = parse_number("--timeout", optarg, 1000000) * WEFT_SECOND;
            break;
        case HELP:
            usage(stdout);
            return fflush(stdout) == 0 ? 0 : 2;
        default: /* getopt_long has said what is wrong */
            usage(stderr);
            return 2;
        }
    }
    if (optind + 1 != argc) {
        usage(stderr);
        return 2;
    }
    xmlInitParser();
    char *url = parse_url(argv[optind], &site);
    int status = weft_run(run, &site, url);
    xmlFree(url);
    free(site.origin);
    free(site.address);
    free(site.host);
    xmlCleanupParser();
    return status;
}
