# The usual errands; CMake does the work (see CMakePresets.json for other builds: cmake --preset tsan).
PRESET ?= $(if $(shell command -v gcc 2>/dev/null),release,release-clang)
PREFIX ?= /usr/local
JOBS   ?= $(shell nproc)
TESTS  ?= $(shell expr 2 '*' $(JOBS)) # at a time: they sleep about half of their time
BUILD   = build/$(PRESET)
# CMake takes a generator only for a new build directory.
GENERATOR = $(if $(wildcard $(BUILD)/CMakeCache.txt),,$(if $(shell command -v ninja 2>/dev/null),-G Ninja))

.PHONY: all setup build demo test bench compare install clean format tidy soak

all: build

setup:
	@tools/setup

build:
	@cmake --preset $(PRESET) $(GENERATOR) -Wno-dev >/dev/null
	@cmake --build $(BUILD) --parallel $(JOBS)

# A guided tour of what weft does.
demo: setup
	@$(MAKE) --no-print-directory build
	@tools/demo $(BUILD)

test: setup
	@$(MAKE) --no-print-directory build
	ctest --test-dir $(BUILD) --output-on-failure --parallel $(TESTS)

# One line per number.
bench: setup
	@$(MAKE) --no-print-directory build
	@bench/run $(BUILD)

# Against Go, Tokio and others, those that are installed; writes docs/performance.md. make compare ONLY=skynet,mutex ROUNDS=3;
# make compare ADD=1 adds to the rounds of earlier runs
compare: setup
	@$(MAKE) --no-print-directory build
	@command -v python3 >/dev/null || { echo 'compare: needs Python: apt-get install python3' >&2; exit 1; }
	@bench/compare/run $(BUILD) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(ONLY),--only $(ONLY)) $(if $(ADD),--add)

install: build
	cmake --install $(BUILD) --prefix $(PREFIX)

# Repeats the concurrent tests, by default 1,000 times: make soak PRESET=tsan TIMES=100
soak: setup
	@$(MAKE) --no-print-directory build
	@tools/soak $(BUILD) $(TIMES)

format:
	git ls-files -z --cached --others --exclude-standard '*.c' '*.h' '*.cc' | xargs -0 clang-format -i

tidy:
	@cmake --preset release-clang -Wno-dev >/dev/null
	@tools/tidy build/release-clang

clean:
	rm -rf build
