/* What an HTML page links to. libxml2 does the work: its parser forgives what browsers forgive, calls back for each element,
   and builds no tree; it resolves URLs too. */
#define _GNU_SOURCE 1 /* strndup and others */
#include "crawl.h"

#include <ctype.h>
#include <libxml/HTMLparser.h>
#include <libxml/uri.h>
#include <string.h>

struct parse {
    struct page *page;
    char *base; /* what relative links are relative to */
    link_found add_link;
};

/* ---- URLs ---- */

static void lower(char *text)
{
    for (char *c = text; c != NULL && *c != 0; c++)
        *c = (char)tolower((unsigned char)*c);
}

/* Schemes and host names do not distinguish case, port 80 need not be said, and the path of a host alone is "/". */
static void canonicalise(xmlURI *uri)
{
    lower(uri->scheme);
    lower(uri->server);
    if (uri->scheme != NULL && strcmp(uri->scheme, "http") == 0 && uri->port == 80)
        uri->port = 0;
    if (uri->server != NULL && uri->path == NULL)
        uri->path = (char *)or_die(xmlStrdup(BAD_CAST "/"));
}

char *url_resolve(const char *base, const char *reference)
{
    while (isspace((unsigned char)*reference))
        reference++;
    size_t length = strlen(reference);
    while (length > 0 && isspace((unsigned char)reference[length - 1]))
        length--;
    xmlChar *trimmed = or_die(xmlStrndup(BAD_CAST reference, (int)length));
    xmlChar *escaped = or_die(xmlURIEscapeStr(trimmed, BAD_CAST "!#$%&'()*+,/:;=?@[]~")); /* spaces, as browsers do */
    xmlChar *absolute = xmlBuildURI(escaped, BAD_CAST base);
    xmlURI *uri = absolute != NULL ? xmlParseURI((const char *)absolute) : NULL;
    char *url = NULL;
    if (uri != NULL && uri->scheme != NULL) {
        canonicalise(uri);
        url = or_die(xmlSaveUri(uri));
    }
    xmlFreeURI(uri);
    xmlFree(absolute);
    xmlFree(escaped);
    xmlFree(trimmed);
    return url;
}

/* ---- places ---- */

bool page_has_place(const struct page *page, const char *fragment)
{
    if (*fragment == 0 || strcasecmp(fragment, "top") == 0) /* the beginning, says HTML */
        return true;
    if (xmlHashLookup(page->ids, BAD_CAST fragment) != NULL)
        return true;
    char *plain = or_die(xmlURIUnescapeString(fragment, 0, NULL));
    bool found = xmlHashLookup(page->ids, BAD_CAST plain) != NULL;
    xmlFree(plain);
    return found;
}

/* ---- elements ---- */

/* The attribute of each element that is a link. */
static const char *link_attribute(const char *element)
{
    static const char *const known[][2] = {
        {"a", "href"},      {"area", "href"},  {"link", "href"}, {"img", "src"},   {"script", "src"},
        {"iframe", "src"},  {"source", "src"}, {"audio", "src"}, {"video", "src"}, {"embed", "src"},
        {"object", "data"}, {"frame", "src"},  {"track", "src"}, {"input", "src"}, {"base", "href"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(element, known[i][0]) == 0)
            return known[i][1];
    return NULL;
}

static void on_link(struct parse *parse, const char *element, const char *reference)
{
    char *url = url_resolve(parse->base, reference);
    if (strcmp(element, "base") == 0) {
        if (url != NULL) {
            xmlFree(parse->base);
            parse->base = url;
        }
        return;
    }
    parse->add_link(parse->page, url, reference);
    xmlFree(url);
}

static void on_element(void *user, const xmlChar *name, const xmlChar **attributes)
{
    struct parse *parse = user;
    const char *element = (const char *)name, *wanted = link_attribute(element);
    for (; attributes != NULL && attributes[0] != NULL; attributes += 2) {
        const char *attribute = (const char *)attributes[0], *value = (const char *)attributes[1];
        if (value == NULL)
            continue;
        if (strcmp(attribute, "id") == 0 || (strcmp(attribute, "name") == 0 && strcmp(element, "a") == 0))
            xmlHashAddEntry(parse->page->ids, BAD_CAST value, parse->page); /* a second one of the same name is no harm */
        else if (wanted != NULL && strcmp(attribute, wanted) == 0)
            on_link(parse, element, value);
    }
}

void page_parse(struct page *page, const struct response *response, link_found add_link)
{
    struct parse parse = {.page = page, .base = or_die(xmlStrdup(BAD_CAST page->url)), .add_link = add_link};
    xmlSAXHandler handler = {.startElement = on_element};
    page->ids = or_die(xmlHashCreate(64));
    htmlParserCtxt *parser =
        response->size > 0 ? or_die(htmlCreateMemoryParserCtxt(response->body, (int)response->size)) : NULL;
    if (parser != NULL) {
        xmlSAXHandler *builtin = parser->sax;
        parser->sax = &handler;
        parser->userData = &parse;
        htmlCtxtUseOptions(parser, HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET);
        htmlParseDocument(parser);
        parser->sax = builtin;
        htmlFreeParserCtxt(parser);
    }
    xmlFree(parse.base);
}
