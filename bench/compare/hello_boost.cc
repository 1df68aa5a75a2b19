// The smallest program with a fiber: the twin of examples/hello.c.
#include <boost/fiber/all.hpp>
#include <cstdio>

using channel = boost::fibers::unbuffered_channel<int>;

static void greet(const char *whom, channel &done)
{
    std::printf("Hello, %s, from a fiber!\n", whom);
    done.push(1);
}

int main()
{
    channel done;
    std::puts("Hello from main!");
    boost::fibers::fiber fiber(greet, "world", std::ref(done));
    done.value_pop();
    std::puts("Goodbye from main!");
    fiber.join();
}
