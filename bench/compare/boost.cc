// The rows of the comparison with Boost.Fiber.
//
// Fair: its own fibers, channels, mutex and condition variables, -O2, one thread with its default scheduler, more with
// work_stealing, whose idle threads spin. A new fiber runs at once (launch::dispatch), which is faster and keeps few
// alive. Stacks of 16 KiB without guards: large enough, and malloc has them at hand, while the default of 128 KiB is a
// mapping for every fiber. A buffered channel holds one less than its capacity: that of 1 is made with 2. It has no
// select, no read-write mutex and no semaphore. A million fibers that are alive at once are left out: they are eight
// gigabytes.
#include "harness.h"

#include <atomic>
#include <boost/fiber/all.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fibers = boost::fibers;

template <typename Function> static fibers::fiber start(Function &&function)
{
    return fibers::fiber(fibers::launch::dispatch, std::allocator_arg, fibers::fixedsize_stack(16 * 1024),
                         std::forward<Function>(function));
}

// count fibers that each do their share of the work.
template <typename Function> static void together(int count, long n, Function work)
{
    std::vector<fibers::fiber> all;
    for (int i = 0; i < count; i++)
        all.push_back(start([=] { work((n + i) / count); }));
    for (auto &fiber : all)
        fiber.join();
}

// ---- tasks ----

static void yields(long n)
{
    together(2, n, [](long share) {
        for (long i = 0; i < share; i++)
            boost::this_fiber::yield();
    });
}

static void spawns(long n)
{
    for (long i = 0; i < n; i++)
        start([] {}).join();
}

static void joins(long n)
{
    for (long i = 0; i < n; i += CONTENDERS)
        together(CONTENDERS, 0, [](long) {});
}

static void spawn_million()
{
    static std::atomic<long> left;
    left = MILLION;
    for (long i = 0; i < MILLION; i++)
        start([] { left--; }).detach(); // a fiber that is still to be joined keeps its stack
    while (left != 0)
        boost::this_fiber::yield();
}

static void skynet_node(fibers::unbuffered_channel<long> &up, long first, long leaves)
{
    if (leaves == 1) {
        up.push(first);
        return;
    }
    fibers::unbuffered_channel<long> down;
    long sum = 0;
    for (long i = 0; i < 10; i++)
        start([&down, first, leaves, i] { skynet_node(down, first + i * leaves / 10, leaves / 10); }).detach();
    for (int i = 0; i < 10; i++)
        sum += down.value_pop();
    up.push(sum);
}

static void skynet_once()
{
    fibers::unbuffered_channel<long> result;
    auto root = start([&result] { skynet_node(result, 0, MILLION); });
    must(result.value_pop() == MILLION * (MILLION - 1L) / 2, "wrong sum");
    root.join();
}

static const long sum_n = 10 * static_cast<long>(MILLION);
static uint32_t *numbers;

static uint64_t add_up(const uint32_t *part, long n)
{
    if (n <= 100)
        return sum_of(part, n);
    uint64_t left = 0;
    auto fiber = start([&left, part, n] { left = add_up(part, n / 2); });
    uint64_t sum = add_up(part + n / 2, n - n / 2);
    fiber.join();
    return left + sum;
}

static void sum_once()
{
    must(add_up(numbers, sum_n) == static_cast<uint64_t>(sum_n) * (sum_n - 1) / 2, "wrong sum");
}

// ---- channels ----

static void pingpong(const char *name)
{
    static fibers::unbuffered_channel<long> there, back;
    auto partner = start([] {
        for (long value : there)
            back.push(value);
    });
    each(name, [](long n) {
        for (long i = 0; i < n; i++) {
            there.push(i);
            back.value_pop();
        }
    });
    there.close();
    partner.join();
}

static int sides;
static long capacity;

// spsc128: one of each side, capacity 128.
static void buffered(const char *name)
{
    sides = name[0] == 's' ? 1 : SIDES;
    capacity = std::strtol(name + 4, nullptr, 10);
    each(name, [](long n) {
        fibers::buffered_channel<long> items(capacity == 1 ? 2 : static_cast<size_t>(capacity));
        std::vector<fibers::fiber> all;
        for (int side = 0; side < sides; side++) {
            long share = (n + side) / sides;
            all.push_back(start([&items, share] {
                for (long i = 0; i < share; i++)
                    items.push(i);
            }));
            all.push_back(start([&items, share] {
                for (long i = 0; i < share; i++)
                    items.value_pop();
            }));
        }
        for (auto &fiber : all)
            fiber.join();
    });
}

static void ring(const char *name)
{
    static fibers::unbuffered_channel<long> links[RING], done;
    for (int i = 0; i < RING; i++)
        start([i] {
            auto &to = links[(i + 1) % RING];
            for (long hops : links[i])
                (hops > 1 ? to : done).push(hops - 1);
        }).detach();
    each(name, [](long n) {
        links[0].push(n);
        done.value_pop();
    });
}

// The first 2,000 primes; the filters stay blocked.
static void sieve_once()
{
    using channel = fibers::unbuffered_channel<long>;
    auto from = std::make_shared<channel>();
    start([from] {
        for (long i = 2;; i++)
            from->push(i);
    }).detach();
    long prime = 0;
    for (int i = 0; i < PRIMES; i++) {
        prime = from->value_pop();
        auto to = std::make_shared<channel>();
        start([from, to, prime] {
            for (long number : *from)
                if (number % prime != 0)
                    to->push(number);
        }).detach();
        from = to;
    }
    must(prime == 17389, "wrong prime");
}

// ---- contention ----

static void locks(long n)
{
    static fibers::mutex mutex;
    static long counter;
    counter = 0;
    together(CONTENDERS, n, [](long share) {
        for (long i = 0; i < share; i++) {
            std::lock_guard<fibers::mutex> lock(mutex);
            counter++;
        }
    });
    must(counter == n, "wrong count");
}

// ---- time ----

static void sleep_1ms()
{
    boost::this_fiber::sleep_for(std::chrono::milliseconds(1));
}

// 100,000 fibers sleep ten times for 100 to 300 ms.
static void sleepers(const char *)
{
    const long count = 100000, times = 10;
    static std::atomic<int64_t> late;
    double cpu = cpu_ns();
    std::vector<fibers::fiber> all;
    for (long i = 0; i < count; i++)
        all.push_back(start([i] {
            uint64_t random = static_cast<uint64_t>(i) * 0x9e3779b9;
            for (int t = 0; t < times; t++) {
                int64_t ns = 100000000 + random_below(&random, 200000000), begin = now_ns();
                boost::this_fiber::sleep_for(std::chrono::nanoseconds(ns));
                late += now_ns() - begin - ns;
            }
        }));
    for (auto &fiber : all)
        fiber.join();
    report("sleepers.cpu", (cpu_ns() - cpu) / (count * times), "ns");
    report("sleepers.late", static_cast<double>(late) / 1e3 / (count * times), "us");
}

// A sleeper of a millisecond beside a second of computing.
static void hog(const char *name)
{
    bool slept = false;
    auto sleeper = start([&slept] {
        sleep_1ms();
        slept = true;
    });
    for (int64_t begin = now_ns(); now_ns() - begin < 1000000000;)
        ;
    must(!slept, "it ran beside the hog");
    report_never(name, "ms");
    sleeper.join();
}

// What a fiber that counts and yields keeps of its pace beside eight that block for 50 ms in a system call.
static void blocked(const char *name)
{
    static std::atomic<long> count;
    static std::atomic<bool> measured_alone, done;
    start([] {
        while (!done) {
            count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            boost::this_fiber::yield();
        }
    }).detach();
    std::thread measuring([name] {
        auto pace = [] {
            block_ns(50000000);
            long before = count;
            int64_t begin = now_ns();
            block_ns(400000000);
            return static_cast<double>(count - before) / static_cast<double>(now_ns() - begin);
        };
        double alone = pace();
        measured_alone = true;
        report(name, pace() / alone * 100, "%");
        done = true;
    });
    while (!measured_alone)
        sleep_1ms();
    for (int i = 0; i < CONTENDERS; i++)
        start([] {
            while (!done) {
                block_ns(50000000);
                boost::this_fiber::yield();
            }
        }).detach();
    measuring.join();
}

// ---- threads ----

// The other threads that run fibers, until the end of the program.
static void run_fibers()
{
    static fibers::mutex mutex;
    static fibers::condition_variable never;
    fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(static_cast<uint32_t>(threads));
    std::unique_lock<fibers::mutex> lock(mutex);
    never.wait(lock, [] { return false; });
}

int main(int argc, char **argv)
{
    static const row rows[] = {
        {"yield", [](const char *name) { each(name, yields); }},
        {"spawn", [](const char *name) { each(name, spawns); }},
        {"join8", [](const char *name) { each(name, joins); }},
        {"spawn_million", [](const char *name) { whole(name, spawn_million); }},
        {"skynet", [](const char *name) { whole(name, skynet_once); }},
        {"sum",
         [](const char *name) {
             numbers = numbers_up_to(sum_n);
             whole(name, sum_once);
         }},
        {"pingpong", pingpong},
        {"spsc1", buffered},
        {"spsc128", buffered},
        {"spsc4096", buffered},
        {"mpmc1", buffered},
        {"mpmc128", buffered},
        {"mpmc4096", buffered},
        {"ring", ring},
        {"sieve", [](const char *name) { whole(name, sieve_once); }},
        {"mutex", [](const char *name) { each(name, locks); }},
        {"sleepers", sleepers},
        {"overshoot", [](const char *name) { report_overshoot(name, sleep_1ms); }},
        {"hog", hog},
        {"blocked", blocked},
    };
    const row *row = row_of(argc, argv, rows, sizeof rows / sizeof *rows);
    for (int i = 1; i < threads; i++)
        std::thread(run_fibers).detach();
    if (threads > 1)
        fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(static_cast<uint32_t>(threads));
    row->measure(row->name);
    std::fflush(stdout);
    std::_Exit(0); // whatever fibers still do
}
