// A C++ program on the untyped core: a site per call, words for arguments, channels of bytes, a select, a group; with
// lambdas as goroutines and a mutex that std::lock_guard takes.
#include <weft.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

#define CHECK(x)                                                                                                            \
    do {                                                                                                                    \
        if (!(x)) {                                                                                                         \
            std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #x);                                            \
            std::exit(1);                                                                                                   \
        }                                                                                                                   \
    } while (0)

namespace
{

template <typename T> class Channel
{
  public:
    explicit Channel(std::size_t capacity) : core(weft_chan_core_make(sizeof(T), capacity))
    {
        CHECK(core != nullptr);
    }
    Channel(const Channel &) = delete;
    Channel &operator=(const Channel &) = delete;
    ~Channel()
    {
        weft_chan_core_free(core);
    }
    int send(T value)
    {
        return weft_chan_core_send(core, &value);
    }
    bool receive(T &value)
    {
        return weft_chan_core_recv(core, &value);
    }
    int close()
    {
        return weft_chan_core_close(core);
    }
    weft_case on_receive(T &value, bool &ok)
    {
        weft_case c = weft_case();
        c.op = WEFT_CASE_RECV;
        c.chan = core;
        c.value = &value;
        c.ok = &ok;
        return c;
    }

  private:
    weft_chan_core *core;
};

class Mutex
{
  public:
    void lock()
    {
        weft_lock(&mutex);
    }
    void unlock()
    {
        weft_unlock(&mutex);
    }

  private:
    weft_mutex mutex = weft_mutex();
};

// A goroutine that calls a function object and then frees it.
template <typename F> void call_and_delete(F *f)
{
    (*f)();
    delete f;
}

template <typename F> void go(weft_waitgroup &wg, const weft_site &site, F f)
{
    std::uintptr_t words[6] = {reinterpret_cast<std::uintptr_t>(new F(f))};
    weft_wg_spawn_(&wg, &site, reinterpret_cast<weft_fn_>(static_cast<void (*)(F *)>(call_and_delete<F>)), words);
}

const weft_site squarer_site = {__FILE__, "squarer", __LINE__, 1};
const weft_site producer_site = {__FILE__, "producer", __LINE__, 1};
const weft_site adder_site = {__FILE__, "adder", __LINE__, 3};
const weft_site app_site = {__FILE__, "app", __LINE__, 1};

constexpr long jobs_count = 1000;

void test_pipeline()
{
    Channel<long> jobs(0), squares(16);
    weft_waitgroup producers = weft_waitgroup(), squarers = weft_waitgroup();
    go(producers, producer_site, [&jobs] {
        for (long i = 1; i <= jobs_count; i++)
            CHECK(jobs.send(i) == 0);
        CHECK(jobs.close() == 0);
        CHECK(jobs.close() == -EPIPE);
    });
    for (int n = 0; n < 4; n++)
        go(squarers, squarer_site, [&jobs, &squares] {
            for (long i; jobs.receive(i);)
                CHECK(squares.send(i * i) == 0);
        });
    weft_waitgroup closers = weft_waitgroup();
    go(closers, producer_site, [&squarers, &squares] {
        weft_wg_wait(&squarers);
        CHECK(squares.close() == 0);
    });
    long sum = 0;
    for (long square; squares.receive(square);)
        sum += square;
    CHECK(sum == jobs_count * (jobs_count + 1) * (2 * jobs_count + 1) / 6);
    weft_wg_wait(&producers);
    weft_wg_wait(&closers);
}

void test_select()
{
    Channel<int> numbers(0);
    Channel<std::string *> words(0);
    weft_waitgroup wg = weft_waitgroup();
    go(wg, producer_site, [&numbers] {
        for (int i = 0; i < 100; i++)
            CHECK(numbers.send(1) == 0);
        CHECK(numbers.close() == 0);
    });
    go(wg, producer_site, [&words] {
        for (int i = 0; i < 100; i++)
            CHECK(words.send(new std::string("word")) == 0);
        CHECK(words.close() == 0);
    });
    int number = 0;
    std::string *word = nullptr;
    bool ok = false;
    long sum = 0;
    std::size_t letters = 0;
    std::vector<weft_case> cases = {numbers.on_receive(number, ok), words.on_receive(word, ok)};
    for (int open = 2; open > 0;) {
        int chosen = weft_select_(cases.data(), static_cast<unsigned>(cases.size()), true);
        CHECK(chosen == 0 || chosen == 1);
        if (!ok) {
            cases[static_cast<std::size_t>(chosen)] = weft_case();
            open--;
        } else if (chosen == 0) {
            sum += number;
        } else {
            letters += word->size();
            delete word;
        }
    }
    CHECK(sum == 100 && letters == 400);
    CHECK(weft_select_(cases.data(), 2, false) == -EAGAIN);
    weft_wg_wait(&wg);
}

void add(Mutex *mutex, long *total, long n)
{
    for (long i = 0; i < n; i++) {
        std::lock_guard<Mutex> guard(*mutex);
        ++*total;
    }
}

void test_words()
{
    Mutex mutex;
    long total = 0;
    weft_waitgroup wg = weft_waitgroup();
    for (int i = 0; i < 8; i++) {
        std::uintptr_t words[6] = {reinterpret_cast<std::uintptr_t>(&mutex), reinterpret_cast<std::uintptr_t>(&total), 500};
        weft_wg_spawn_(&wg, &adder_site, reinterpret_cast<weft_fn_>(add), words);
    }
    weft_wg_wait(&wg);
    CHECK(total == 8 * 500);
}

// An exception that is caught inside its goroutine is the goroutine's own business, also across a wait.
void test_exceptions()
{
    Channel<int> caught(8);
    weft_waitgroup wg = weft_waitgroup();
    for (int n = 0; n < 8; n++)
        go(wg, squarer_site, [&caught, n] {
            try {
                weft_yield();
                throw n;
            } catch (int value) {
                CHECK(caught.send(value) == 0);
            }
        });
    weft_wg_wait(&wg);
    CHECK(caught.close() == 0);
    int sum = 0;
    for (int value; caught.receive(value);)
        sum += value;
    CHECK(sum == 28);
}

int app(int expected)
{
    CHECK(expected == 42);
    CHECK(weft_id() > 0);
    test_pipeline();
    test_select();
    test_words();
    test_exceptions();
    return 7;
}

} // namespace

static void run_once()
{
    CHECK(weft_id() == 0);
    test_pipeline(); // as a foreign thread
    test_select();
    test_words();
    std::uintptr_t words[6] = {42};
    CHECK(weft_run_(nullptr, &app_site, reinterpret_cast<weft_fn_>(app), words) == 7);
    CHECK(weft_shutdown(10 * WEFT_SECOND) == 0);
}

int main()
{
    const char *repeat = std::getenv("WEFT_TEST_REPEAT"); // as in test.h
    for (int left = repeat ? std::atoi(repeat) : 1; left > 0; left--)
        run_once();
    return 0;
}
