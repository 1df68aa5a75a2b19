/* address.c — see address.h.

   Ports are looked at here although getaddrinfo does it too: the C libraries take " 80", "-1" and "65616" for numbers,
   and the last for port 80. */
#include "io/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define PATH_AT offsetof(struct sockaddr_un, sun_path)
#define PATH_SIZE sizeof((struct sockaddr_un *)0)->sun_path

bool wi_network_parse(const char *name, struct wi_network *network)
{
    static const struct {
        char name[9];
        struct wi_network network;
    } known[] = {
        {"tcp", {AF_UNSPEC, SOCK_STREAM}}, {"tcp4", {AF_INET, SOCK_STREAM}},    {"tcp6", {AF_INET6, SOCK_STREAM}},
        {"udp", {AF_UNSPEC, SOCK_DGRAM}},  {"udp4", {AF_INET, SOCK_DGRAM}},     {"udp6", {AF_INET6, SOCK_DGRAM}},
        {"unix", {AF_UNIX, SOCK_STREAM}},  {"unixgram", {AF_UNIX, SOCK_DGRAM}},
    };
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) {
            *network = known[i].network;
            return true;
        }
    return false;
}

/* ---- host and port ---- */

static bool service_is_good(const char *service)
{
    size_t digits = strspn(service, "0123456789");
    if (service[digits] != '\0')
        return isalnum((unsigned char)service[0]) != 0; /* as names of services begin */
    unsigned long port = 0;
    for (size_t i = 0; i < digits; i++)
        if ((port = port * 10 + (unsigned long)(service[i] - '0')) > 65535)
            return false;
    return digits > 0;
}

int wi_host_port_parse(const char *text, struct wi_host_port *parts)
{
    const char *colon = text ? strrchr(text, ':') : NULL;
    if (!colon)
        return -EINVAL;
    const char *host = text;
    size_t length = (size_t)(colon - text);
    bool brackets = length >= 2 && host[0] == '[' && host[length - 1] == ']';
    if (brackets) {
        host++;
        length -= 2;
    }
    if (length >= sizeof parts->host || strlen(colon + 1) >= sizeof parts->service)
        return -EINVAL;
    memcpy(parts->host, host, length);
    parts->host[length] = '\0';
    strcpy(parts->service, colon + 1);
    /* "::1:80" may mean two things; "[]:80" none */
    bool good = brackets ? length > 0 : !strchr(parts->host, ':');
    return good && !strpbrk(parts->host, "[]") && service_is_good(parts->service) ? 0 : -EINVAL;
}

/* ---- Unix sockets ---- */

int wi_unix_address_parse(const char *text, struct sockaddr_un *address)
{
    size_t length = text ? strlen(text) : 0;
    if (length == 0)
        return -EINVAL;
    bool abstract = text[0] == '@';
    if (length + !abstract > PATH_SIZE) /* a path ends with a zero byte */
        return -ENAMETOOLONG;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, text, length);
    if (abstract)
        address->sun_path[0] = '\0';
    return (int)(PATH_AT + (length == 1 && abstract ? 0 : length + !abstract));
}

static int format_unix(const struct sockaddr_un *address, size_t length, char *text, size_t size)
{
    size_t n = length > PATH_AT ? length - PATH_AT : 0;
    const char *name = address->sun_path, *prefix = "";
    if (n > 1 && name[0] == '\0') {
        prefix = "@";
        name++;
        n--;
    } else if (n > 0 && name[0] == '@') {
        prefix = "./"; /* a path that would be taken for an abstract name */
    }
    return snprintf(text, size, "%s%.*s", prefix, (int)strnlen(name, n), name);
}

/* ---- socket addresses as text ---- */

static int format_inet(const struct in_addr *host, in_port_t port, char *text, size_t size)
{
    char number[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, host, number, sizeof number);
    return snprintf(text, size, "%s:%u", number, ntohs(port));
}

static int format_inet6(const struct sockaddr_in6 *address, char *text, size_t size)
{
    const struct in6_addr *host = &address->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(host)) {
        struct in_addr inside;
        memcpy(&inside, &host->s6_addr[12], sizeof inside);
        return format_inet(&inside, address->sin6_port, text, size);
    }
    char number[INET6_ADDRSTRLEN], interface[IF_NAMESIZE + 1] = "%";
    inet_ntop(AF_INET6, host, number, sizeof number);
    if (address->sin6_scope_id == 0)
        interface[0] = '\0';
    else if (!if_indextoname(address->sin6_scope_id, interface + 1))
        snprintf(interface + 1, sizeof interface - 1, "%u", (unsigned)address->sin6_scope_id);
    return snprintf(text, size, "[%s%s]:%u", number, interface, ntohs(address->sin6_port));
}

int wi_address_format(const struct sockaddr *address, socklen_t length, char *text, size_t size)
{
    const void *any = address;
    int n;
    switch (address->sa_family) {
    case AF_INET: {
        const struct sockaddr_in *inet = any;
        n = format_inet(&inet->sin_addr, inet->sin_port, text, size);
        break;
    }
    case AF_INET6:
        n = format_inet6(any, text, size);
        break;
    case AF_UNIX:
        n = format_unix(any, length, text, size);
        break;
    default:
        return -EAFNOSUPPORT;
    }
    return (size_t)n < size ? n : -ENOSPC;
}
