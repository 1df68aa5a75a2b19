/* The crawl. Every URL is a page, and every page of the site a goroutine: it waits for one of a limited number of slots,
   fetches the page, and starts a goroutine for each URL in it that nobody has seen. A WaitGroup tells when the last one has
   ended. So there is no queue, no worker and no question of when the work is done; the goroutines that wait for a slot are
   the queue. */
#define _GNU_SOURCE 1 /* strndup and others */
#include "crawl.h"

#include <stdlib.h>
#include <string.h>

static struct {
    const struct site *site;
    weft_sem slots;
    weft_waitgroup running;
    weft_mutex mutex;    /* guards all below */
    xmlHashTable *pages; /* by URL */
    struct page *first, **end;
    struct totals totals;
} crawler;

static void check(struct page *page);

static bool is_of_site(const char *url)
{
    size_t length = strlen(crawler.site->origin);
    return strncmp(url, crawler.site->origin, length) == 0 && (url[length] == '/' || url[length] == '?');
}

/* The page of a URL (without a fragment). Whoever asks first starts its goroutine. */
static struct page *page_of(const char *url)
{
    weft_scoped_lock(&crawler.mutex);
    struct page *page = xmlHashLookup(crawler.pages, BAD_CAST url);
    if (page != NULL)
        return page;
    page = or_die(calloc(1, sizeof *page));
    page->url = or_die(strdup(url));
    page->external = !is_of_site(url);
    xmlHashAddEntry(crawler.pages, BAD_CAST url, page);
    *crawler.end = page;
    crawler.end = &page->next;
    if (!page->external) {
        crawler.totals.pages++;
        weft_wg_go(&crawler.running, check, page);
    }
    return page;
}

/* The page of a URL that may have a fragment. */
static struct page *page_without_fragment(const char *url)
{
    char *plain = or_die(strndup(url, strcspn(url, "#")));
    struct page *page = page_of(plain);
    free(plain);
    return page;
}

static void add_link(struct page *page, const char *url, const char *text)
{
    struct link *link = or_die(calloc(1, sizeof *link));
    link->text = or_die(strdup(url != NULL ? url : text));
    const char *mark = strchr(link->text, '#');
    link->fragment = mark != NULL ? mark + 1 : NULL;
    if (url != NULL)
        link->to = page_without_fragment(url);
    link->next = page->links;
    page->links = link;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void look_at(struct page *page, const struct response *response)
{
    page->status = response->status;
    if (is_redirect(response->status) && response->location != NULL) {
        char *url = url_resolve(page->url, response->location);
        if (url != NULL)
            page->redirect = page_without_fragment(url);
        xmlFree(url);
    } else if (response->status == 200 && response->html) {
        page_parse(page, response, add_link);
    }
}

static void check(struct page *page)
{
    struct response response = {0};
    if ((page->error = weft_sem_acquire(&crawler.slots, 1)) != 0)
        return;
    const char *path = page->url + strlen(crawler.site->origin);
    page->error = fetch(crawler.site, path, &response);
    weft_sem_release(&crawler.slots, 1);
    if (page->error == 0)
        look_at(page, &response);

    size_t links = 0;
    for (const struct link *link = page->links; link != NULL; link = link->next)
        links++;
    {
        weft_scoped_lock(&crawler.mutex);
        crawler.totals.links += links;
        crawler.totals.bytes += response.received;
    }
    response_clear(&response);
}

struct page *crawl(const struct site *site, const char *url, struct totals *totals)
{
    crawler.site = site;
    crawler.slots = (weft_sem)WEFT_SEM(site->jobs);
    crawler.pages = or_die(xmlHashCreate(1024));
    crawler.end = &crawler.first;
    page_of(url);
    weft_wg_wait(&crawler.running);
    fetch_end();
    xmlHashFree(crawler.pages, NULL);
    *totals = crawler.totals;
    return crawler.first;
}
