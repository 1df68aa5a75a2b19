// Exits and panics through frames of C++ and C: destructors, scoped locks and deferred calls in one order, wherever the goroutine
// runs on meanwhile; what catch (...) may do; and the untyped core of futures and groups.
#include "frames.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(x)                                                                                                            \
    do {                                                                                                                    \
        if (!(x)) {                                                                                                         \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #x);                                            \
            std::abort();                                                                                                   \
        }                                                                                                                   \
    } while (0)

namespace
{

const weft_site site = {__FILE__, "a goroutine", __LINE__, 6};

template <typename F> weft_fn_ fn_of(F f)
{
    return reinterpret_cast<weft_fn_>(f);
}

// ---- what goroutines leave, one at a time ----

char trail[100];
weft_mutex mutexes[3];

void mark(int letter)
{
    std::size_t length = std::strlen(trail);
    CHECK(length < sizeof trail - 1);
    trail[length] = static_cast<char>(letter);
}

bool is_held(weft_mutex *m)
{
    if (!weft_try_lock(m))
        return true;
    weft_unlock(m);
    return false;
}

// The letter, then which mutexes are held: "x01".
void mark_held(int letter)
{
    mark(letter);
    for (int i = 0; i < 3; i++)
        if (is_held(&mutexes[i]))
            mark('0' + i);
}

class Marker
{
  public:
    explicit Marker(char letter) : letter_(letter)
    {
    }
    ~Marker()
    {
        weft_yield();
        CHECK(weft_sleep(WEFT_US) == 0); // clean-up is shielded
        mark_held(letter_);
    }

  private:
    char letter_;
};

class Lock
{
  public:
    explicit Lock(weft_mutex *m)
    {
        weft_scoped_lock_(&scope_, m);
    }
    ~Lock()
    {
        weft_scope_leave_(&scope_);
    }
    Lock(const Lock &) = delete;
    Lock &operator=(const Lock &) = delete;

  private:
    weft_scope_ scope_;
};

void defer_mark(int letter)
{
    std::uintptr_t words[6] = {static_cast<std::uintptr_t>(letter)};
    weft_defer_(nullptr, &site, fn_of(mark_held), words);
}

enum How { RETURN, EXIT, PANIC };

void leave(int how)
{
    if (how == EXIT)
        weft_exit_goroutine();
    if (how == PANIC)
        weft_panic("how %d", how);
}

// ---- three kinds of frames, inside each other ----

void innermost(int how)
{
    Marker first('a');
    Lock lock(&mutexes[2]);
    Marker second('b');
    defer_mark('B');
    leave(how);
}

void middle(int how)
{
    Marker before('c');
    defer_mark('C');
    frame_exceptions(&mutexes[1], innermost, how);
    Marker after('d');
}

void outermost(int how)
{
    Marker marker('e');
    frame_plain(&mutexes[0], middle, how);
}

int start(int how)
{
    outermost(how);
    mark('.');
    return 42;
}

// ---- futures and groups by hand ----

weft_future_core *async(weft_fn_ fn, std::uintptr_t a)
{
    std::uintptr_t words[6] = {a};
    weft_future_core *f = weft_async_(nullptr, &site, fn, words);
    CHECK(f != nullptr);
    return f;
}

std::string run(How how, int expected_error)
{
    std::memset(trail, 0, sizeof trail);
    int result = -1;
    char *panic = nullptr;
    CHECK(weft_future_core_await(async(fn_of(start), how), &result, sizeof result, &panic) == expected_error);
    CHECK(result == (expected_error ? 0 : 42));
    CHECK((panic != nullptr) == (how == PANIC));
    CHECK(!panic || std::strncmp(panic, "how 2\n", 6) == 0);
    std::free(panic);
    for (auto &m : mutexes)
        CHECK(!is_held(&m));
    return trail;
}

void test_order()
{
    std::string returned = run(RETURN, 0);
    CHECK(returned == "b012a01d0c0e.BC");
    // Each deferred call comes before the lock that was taken before it is undone, and otherwise as late as can be.
    std::string exited = run(EXIT, -ENOTRECOVERABLE);
    CHECK(exited == "b012B012a01c0C0e");
    CHECK(run(PANIC, -ENOTRECOVERABLE) == exited);
}

// A deferred call may free what newer frames use: it comes after their destructors.
struct User {
    const int *what;
    ~User()
    {
        CHECK(*what == 7);
    }
};

void uses(const int *what)
{
    User user = {what};
    weft_exit_goroutine();
}

int frees_what_newer_frames_use()
{
    int *what = static_cast<int *>(std::malloc(sizeof *what));
    CHECK(what);
    *what = 7;
    std::uintptr_t words[6] = {reinterpret_cast<std::uintptr_t>(what)};
    weft_defer_(nullptr, &site, fn_of(std::free), words);
    uses(what);
    return 0;
}

void test_deferred_free()
{
    CHECK(weft_future_core_await(async(fn_of(frees_what_newer_frames_use), 0), nullptr, 0, nullptr) == -ENOTRECOVERABLE);
}

// ---- catch ----

int catches_and_rethrows(int how)
{
    Marker marker('m');
    try {
        Lock lock(&mutexes[0]);
        leave(how);
    } catch (const std::exception &) {
        mark('!');
    } catch (...) {
        mark_held('c');
        weft_yield();
        throw;
    }
    mark('!');
    return 0;
}

int leaves_from_a_handler(int how)
{
    try {
        throw std::runtime_error("caught");
    } catch (const std::exception &error) {
        Marker marker('m');
        weft_yield();
        CHECK(std::strcmp(error.what(), "caught") == 0);
        leave(how);
    }
    mark('!');
    return 0;
}

int throws_and_catches(int n)
{
    try {
        weft_yield();
        throw n;
    } catch (int value) {
        return value;
    }
}

void test_catch()
{
    for (int how = EXIT; how <= PANIC; how++) {
        std::memset(trail, 0, sizeof trail);
        CHECK(weft_future_core_await(async(fn_of(catches_and_rethrows), how), nullptr, 0, nullptr) == -ENOTRECOVERABLE);
        CHECK(std::string(trail) == "cm");
        std::memset(trail, 0, sizeof trail);
        CHECK(weft_future_core_await(async(fn_of(leaves_from_a_handler), how), nullptr, 0, nullptr) == -ENOTRECOVERABLE);
        CHECK(std::string(trail) == "m");
    }
    int value = 0; // exceptions are as they were
    CHECK(weft_future_core_await(async(fn_of(throws_and_catches), 5), &value, sizeof value, nullptr) == 0);
    CHECK(value == 5);
}

// ---- many at once, on all workers ----

long destroyed; // atomic

struct Counter {
    weft_mutex *m;
    ~Counter()
    {
        weft_yield();
        weft_lock(m);
        weft_unlock(m);
        __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    }
};

void descend(int depth)
{
    static weft_mutex m;
    Counter counter = {&m};
    weft_mutex own[2] = {weft_mutex(), weft_mutex()};
    Lock lock(&own[0]);
    if (depth > 0)
        frame_plain(&own[1], descend, depth - 1);
    else
        weft_exit_goroutine();
}

int descends(int depth)
{
    descend(depth);
    return 0;
}

// ---- results of every width ----

enum Colour : int { RED, BLUE = 1000000 };

bool gives_bool(int b)
{
    return b != 0;
}

char gives_char(int c)
{
    return static_cast<char>(c);
}

Colour gives_colour(int c)
{
    return static_cast<Colour>(c);
}

const char *gives_text(const char *text)
{
    return text;
}

template <typename T, typename A> T result_of(T (*fn)(A), A argument)
{
    T results[2];
    std::memset(results, 0x55, sizeof results);
    std::uintptr_t word = 0;
    std::memcpy(&word, &argument, sizeof argument);
    weft_future_core *f = async(fn_of(fn), word);
    CHECK(weft_future_core_await(f, &results[0], sizeof(T), nullptr) == 0);
    for (std::size_t i = 0; i < sizeof(T); i++)
        CHECK(reinterpret_cast<char *>(&results[1])[i] == 0x55);
    return results[0];
}

void test_results()
{
    CHECK(result_of(gives_bool, 256) && !result_of(gives_bool, 0));
    CHECK(result_of(gives_char, 200) == static_cast<char>(200));
    CHECK(result_of(gives_colour, static_cast<int>(BLUE)) == BLUE);
    CHECK(std::strcmp(result_of(gives_text, "text"), "text") == 0);
    weft_future_core *f = async(fn_of(gives_bool), 1);
    weft_future_core_free(f);
}

int fails(int n)
{
    leave(n == 3 ? PANIC : n == 4 ? EXIT : RETURN);
    return n == 5 ? -EIO : 0;
}

void test_groups()
{
    weft_group g = weft_group();
    g.limit = 2;
    weft_group_scope_ scope;
    weft_scoped_group_(&scope, &g);
    for (std::uintptr_t i = 0; i < 10; i++) {
        std::uintptr_t words[6] = {i};
        CHECK(weft_group_spawn_(&g, &site, fn_of(fails), words) == 0);
    }
    int error = weft_group_wait(&g);
    CHECK(error == -EIO || error == -ENOTRECOVERABLE);
    CHECK(weft_group_panic(&g) && std::strncmp(weft_group_panic(&g), "how 2\n", 6) == 0);
    weft_group_scope_leave_(&scope);
    CHECK(!weft_group_panic(&g));
}

void test_many()
{
    enum { N = 200, DEPTH = 10 };
    destroyed = 0;
    weft_future_core *futures[N];
    for (auto &f : futures)
        f = async(fn_of(descends), DEPTH);
    for (auto f : futures)
        CHECK(weft_future_core_await(f, nullptr, 0, nullptr) == -ENOTRECOVERABLE);
    CHECK(destroyed == N * (DEPTH + 1));
}

// ---- what is fatal ----

int swallows(int how)
{
    try {
        leave(how);
    } catch (...) {
    }
    return 0;
}

int throws_for_ever(int n)
{
    throw n;
}

// fn in a goroutine must abort the program with the message.
void expect_death(int (*fn)(int), int argument, const char *message)
{
    int ends[2];
    char text[10000] = "";
    std::size_t length = 0;
    CHECK(pipe(ends) == 0);
    std::fflush(nullptr);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        alarm(60);
        weft_future_core_await(async(fn_of(fn), static_cast<std::uintptr_t>(argument)), nullptr, 0, nullptr);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t n; length < sizeof text - 1 && (n = read(ends[0], text + length, sizeof text - 1 - length)) > 0;)
        length += static_cast<std::size_t>(n);
    close(ends[0]);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT || !std::strstr(text, message)) {
        std::fprintf(stderr, "expected SIGABRT and \"%s\"; the status was 0x%x and the text:\n%s\n", message, status, text);
        std::abort();
    }
}

int app()
{
    test_order();
    test_deferred_free();
    test_catch();
    test_many();
    test_results();
    test_groups();
    return 7;
}

} // namespace

int main()
{
    expect_death(swallows, EXIT, "was stopped by a C++ catch (...)");
    expect_death(swallows, PANIC, "was stopped by a C++ catch (...)");
    expect_death(throws_for_ever, 1, "a C++ exception would leave its goroutine");
    test_order(); // as a foreign thread
    test_groups();
    std::uintptr_t words[6] = {0};
    CHECK(weft_run_(nullptr, &site, fn_of(app), words) == 7);
    CHECK(weft_shutdown(10 * WEFT_SECOND) == 0);
    return 0;
}
