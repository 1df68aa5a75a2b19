/* libpq, unmodified and synchronous, against a real PostgreSQL: up to 1,000 goroutines on 2 workers. libpq sets errno to 0
   before it calls recv, and reads it after. */
#define _GNU_SOURCE 1
#include "hook.h"
#include "server.h"
#include <libpq-fe.h>

#ifdef BY_DLOPEN /* the library is loaded when the program runs already, for itself */
#include <dlfcn.h>
enum { CONNECTIONS = 250 };
/* clang-format off */
#define LIBRARY_FUNCTIONS(X) \
    X(PQconnectdb) \
    X(PQstatus) \
    X(PQerrorMessage) \
    X(PQexec) \
    X(PQexecParams) \
    X(PQresultStatus) \
    X(PQgetvalue) \
    X(PQgetlength) \
    X(PQresultErrorField) \
    X(PQclear) \
    X(PQfinish) \
    X(PQntuples) \
    X(PQping)
/* clang-format on */
#define POINTER(name) static __typeof__(name) *name##_;
LIBRARY_FUNCTIONS(POINTER)
#define PQconnectdb PQconnectdb_
#define PQstatus PQstatus_
#define PQerrorMessage PQerrorMessage_
#define PQexec PQexec_
#define PQexecParams PQexecParams_
#define PQresultStatus PQresultStatus_
#define PQgetvalue PQgetvalue_
#define PQgetlength PQgetlength_
#define PQresultErrorField PQresultErrorField_
#define PQclear PQclear_
#define PQfinish PQfinish_
#define PQntuples PQntuples_
#define PQping PQping_

static void load_library(void)
{
    void *library = dlopen(BY_DLOPEN, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        server_skip(dlerror());
#define LOAD(name) CHECK((*(void **)&name##_ = dlsym(library, #name)) != NULL);
    LIBRARY_FUNCTIONS(LOAD)
}
#else
enum { CONNECTIONS = 1000 };
static void load_library(void)
{
}
#endif

static int answers(void)
{
    char where[160];
    snprintf(where, sizeof where, "host=%s port=%d user=postgres dbname=postgres", server.directory, server.port);
    return PQping(where) == PQPING_OK;
}

static PGconn *connect_to_postgres(int number)
{
    char how[256];
    snprintf(how, sizeof how, "host=%s port=%d user=postgres dbname=postgres gssencmode=disable %s",
             number % 2 ? "127.0.0.1" : server.directory, server.port, number % 4 < 2 ? "connect_timeout=90" : "");
    PGconn *c = PQconnectdb(how);
    if (PQstatus(c) != CONNECTION_OK)
        fprintf(stderr, "connection %d: %s\n", number, PQerrorMessage(c));
    CHECK_EQ(PQstatus(c), CONNECTION_OK);
    return c;
}

static PGresult *result_of(PGconn *c, PGresult *r, ExecStatusType status)
{
    if (PQresultStatus(r) != status)
        fprintf(stderr, "%s\n", PQerrorMessage(c));
    CHECK_EQ(PQresultStatus(r), status);
    return r;
}

static void execute(PGconn *c, const char *command)
{
    PQclear(result_of(c, PQexec(c, command), PGRES_COMMAND_OK));
}

static void use_postgres(int number, int rounds, weft_waitgroup *connected, weft_waitgroup *wg)
{
    PGconn *c = connect_to_postgres(number);
    weft_wg_done(connected);
    weft_wg_wait(connected); /* all at the same time */
    for (int i = 0; i < rounds; i++) {
        char text[32];
        const char *values[] = {text};
        snprintf(text, sizeof text, "%d", number * 100 + i);
        int *before = thread_mark();
        PGresult *r = result_of(c, PQexecParams(c, "SELECT $1::int + 1", 1, NULL, values, NULL, NULL, 0), PGRES_TUPLES_OK);
        CHECK_EQ(thread_mark(), before);
        CHECK_EQ(atoi(PQgetvalue(r, 0, 0)), number * 100 + i + 1);
        PQclear(r);
    }
    execute(c, "BEGIN");
    PQclear(result_of(c, PQexec(c, "SELECT n FROM counter FOR UPDATE"), PGRES_TUPLES_OK));
    execute(c, "UPDATE counter SET n = n + 1");
    execute(c, "COMMIT");
    PGresult *r = result_of(c, PQexec(c, "SELECT 1 / 0"), PGRES_FATAL_ERROR);
    CHECK_EQ(strcmp(PQresultErrorField(r, PG_DIAG_SQLSTATE), "22012"), 0);
    PQclear(r);
    if (number % 20 == 0) {
        r = result_of(c, PQexec(c, "SELECT repeat('x', 200000), generate_series(1, 5)"), PGRES_TUPLES_OK);
        CHECK_EQ(PQntuples(r), 5);
        CHECK_EQ(PQgetlength(r, 4, 0), 200000);
        PQclear(r);
    }
    PQclear(result_of(c, PQexec(c, "SELECT pg_sleep(0.05)"), PGRES_TUPLES_OK));
    PQfinish(c);
    weft_wg_done(wg);
}

TEST(many_goroutines)
{
    int n = test_scale(CONNECTIONS);
    weft_waitgroup wg = {0}, connected = {0};
    PGconn *c = connect_to_postgres(0); /* of a plain thread */
    execute(c, "CREATE TABLE counter AS SELECT 0 AS n");
    weft_wg_add(&wg, n);
    weft_wg_add(&connected, n);
    for (int i = 0; i < n; i++)
        weft_go(use_postgres, i, 5, &connected, &wg);
    weft_wg_wait(&wg);
    PGresult *r = result_of(c, PQexec(c, "SELECT n FROM counter"), PGRES_TUPLES_OK);
    CHECK_EQ(atoi(PQgetvalue(r, 0, 0)), n);
    PQclear(r);
    PQfinish(c);
}

/* A context ends a query; the connection is then of no more use, and libpq says why. */
static void query_in_vain(weft_waitgroup *wg)
{
    PGconn *c = connect_to_postgres(1);
    {
        weft_ctx *ctx = weft_ctx_with_timeout(weft_ctx_current(), 50 * WEFT_MS);
        weft_scoped_ctx(ctx);
        weft_scoped_use(ctx);
        PQclear(result_of(c, PQexec(c, "SELECT pg_sleep(1000)"), PGRES_FATAL_ERROR));
        CHECK(strstr(PQerrorMessage(c), strerror(ETIMEDOUT)) != NULL);
    }
    PQfinish(c);
    weft_wg_done(wg);
}

TEST(contexts_end_queries)
{
    int n = test_scale(20);
    weft_waitgroup wg = {0};
    weft_wg_add(&wg, n);
    for (int i = 0; i < n; i++)
        weft_go(query_in_vain, &wg);
    weft_wg_wait(&wg);
}

int main(int argc, char **argv)
{
    setenv("WEFT_PROCS", "2", 0);
    load_library();
    server_prepare("postgres");
    char port[32], directory[128];
    snprintf(port, sizeof port, "%d", server.port);
    snprintf(directory, sizeof directory, "%s/data", server.directory);
    int status = server_run_once("postgres", (char *const[]){POSTGRES_DIRECTORY "/initdb", "-D", directory, "-U", "postgres",
                                                             "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8", NULL});
    if (status == 127)
        server_skip("PostgreSQL's initdb is not installed");
    if (status != 0) {
        server_show_log();
        fprintf(stderr, "initdb: status %d\n", status);
        return 1;
    }
    char *const arguments[] = {POSTGRES_DIRECTORY "/postgres",
                               "-D",
                               directory,
                               "-p",
                               port,
                               "-k",
                               server.directory,
                               "-c",
                               "listen_addresses=127.0.0.1",
                               "-c",
                               "max_connections=1050",
                               "-c",
                               "fsync=off",
                               "-c",
                               "shared_buffers=32MB",
                               "-c",
                               "autovacuum=off",
                               "-c",
                               "authentication_timeout=600",
                               "-c",
                               "max_worker_processes=0",
                               NULL};
    server_start("postgres", SIGQUIT, arguments, answers);
    return test_main_(argc, argv);
}
