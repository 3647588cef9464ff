# SPDX-License-Identifier: MIT
# libspecdec and specbench. `make help` lists the targets.
#
# Sources are picked up by folder. Objects of one kind of build (compiler,
# sanitizer, warnings as errors) live in build/obj-KIND/ and are never mixed;
# products are in build/, those of a sanitizer build in build/VARIANT/. A change
# of flags rebuilds what depends on them.

VERSION := $(shell sed -n 's/^.define SPEC_VERSION_STRING "\(.*\)"/\1/p' specdec.h)
ABI     := $(shell sed -n 's/^.define SPEC_ABI \([0-9]*\).*/\1/p' specdec.h)

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin AR),default)
AR := ar
endif
CXX_OF_gcc   := g++
CXX_OF_clang := clang++
ifeq ($(origin CXX),default)
CXX := $(or $(CXX_OF_$(notdir $(CC))),g++)
endif

prefix       ?= /usr/local
exec_prefix  ?= $(prefix)
bindir       ?= $(exec_prefix)/bin
libdir       ?= $(exec_prefix)/lib
includedir   ?= $(prefix)/include
datadir      ?= $(prefix)/share
pkgconfigdir ?= $(libdir)/pkgconfig
INSTALL      ?= install

# ---- the kind of build: plain, asan, tsan, fuzz ---------------------------

VARIANT ?= plain
WERROR  ?= 0

CFLAGS_plain := -O2 -g
CFLAGS_asan  := -O1 -g -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all \
                -fno-omit-frame-pointer
CFLAGS_tsan  := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
CFLAGS_fuzz  := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
ifeq ($(origin CFLAGS_$(VARIANT)),undefined)
$(error VARIANT is plain, asan, tsan or fuzz, not "$(VARIANT)")
endif

CFLAGS   ?= $(CFLAGS_$(VARIANT))
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
ifeq ($(WERROR),1)
WARNINGS += -Werror
endif
ALL_CPPFLAGS := -D_POSIX_C_SOURCE=200809L $(CPPFLAGS)
ALL_CFLAGS   := -std=c11 $(CFLAGS) -fPIC -fvisibility=hidden -ffp-contract=off -pthread
ALL_LDFLAGS  := $(CFLAGS) -pthread -Wl,--as-needed $(LDFLAGS)
SO_LDFLAGS   := -shared -Wl,-soname,libspecdec.so.$(ABI) -Wl,--no-undefined
LIB_LIBS     := -lopenblas -lpcre2-8 -ljansson -lm

OUT := $(if $(filter plain,$(VARIANT)),build,build/$(VARIANT))
OBJ := build/obj-$(VARIANT)-$(notdir $(CC))$(if $(filter 1,$(WERROR)),-werror)

# ---- sources --------------------------------------------------------------

# The include paths are the layers (DESIGN): a folder sees only what is below it.
INC_.             := -I.
INC_suffix_tree   := -I. -Isuffix_tree
INC_draft         := -I. -Isuffix_tree -Idraft
INC_draft/heads   := $(INC_draft) -Idraft/heads -Iverify/tensor
INC_draft/train   := $(INC_draft) -Idraft/heads -Idraft/train -Iverify -Iverify/tensor -Iverify/target
INC_verify        := -I. -Idraft -Iverify
INC_verify/tensor := -I. -Iverify/tensor
INC_verify/target := -I. -Idraft -Iverify -Iverify/tensor -Iverify/target
INC_all           := -I. -Isuffix_tree -Idraft -Idraft/train -Iverify -Iverify/tensor -Iverify/target -Ibench
INC_bench         := $(INC_all) -Idraft/heads
INC_tests         := $(INC_all) -Idraft/heads -Itests
INC_examples      := -I. -Isuffix_tree -Idraft -Iverify -Iverify/tensor -Iverify/target

LIB_DIRS   := suffix_tree draft draft/heads verify verify/tensor verify/target
LIB_SRC    := specdec.c $(sort $(wildcard $(addsuffix /*.c,$(LIB_DIRS))))
HEADERS    := specdec.h $(sort $(wildcard $(addsuffix /spec_*.h,$(LIB_DIRS))))

# The trainer: for specbench and the tests, never in the library.
TRAIN_SRC  := $(sort $(wildcard draft/train/*.c))

BENCH_ALL  := $(sort $(wildcard bench/*.c))
BENCH_MAIN := $(if $(BENCH_ALL),$(shell grep -l '^int main\b' $(BENCH_ALL)))
BENCH_SRC  := $(filter-out $(BENCH_MAIN),$(BENCH_ALL))

TEST_ALL   := $(sort $(wildcard tests/*.c))
TEST_SRC   := $(filter tests/test_%.c,$(TEST_ALL))
FUZZ_SRC   := $(filter-out tests/fuzz_main.c,$(filter tests/fuzz_%.c,$(TEST_ALL)))
HELPER_SRC := $(filter-out tests/test_% tests/fuzz_%,$(TEST_ALL))
EX_SRC     := $(sort $(wildcard examples/*.c))
ALL_SRC    := $(LIB_SRC) $(TRAIN_SRC) $(BENCH_ALL) $(TEST_ALL) $(EX_SRC)

objects = $(patsubst %.c,$(OBJ)/%.o,$(1))

LIB_A    := $(OUT)/libspecdec.a
LIB_REAL := libspecdec.so.$(VERSION)
LIB_SO   := $(OUT)/libspecdec.so
MODELS    := $(sort $(wildcard bench/models/*.gguf bench/models/*.md))
SPECBENCH := $(if $(BENCH_MAIN),$(OUT)/specbench)
TRAIN_A  := $(if $(TRAIN_SRC),$(OBJ)/libtrain.a)
BENCH_A  := $(if $(BENCH_SRC),$(OBJ)/libbench.a)
HELPER_A := $(if $(HELPER_SRC),$(OBJ)/libhelpers.a)
TESTS    := $(patsubst %.c,$(OUT)/%,$(TEST_SRC))
FUZZERS  := $(patsubst %.c,$(OUT)/%,$(FUZZ_SRC))
EXAMPLES := $(patsubst %.c,$(OUT)/%,$(EX_SRC))
# Threads under TSan: only programs that start some.
THREAD_TESTS := $(foreach t,$(TESTS),$(if $(findstring threads,$(notdir $(t))),$(t)))

# Files that need an instruction set get it here; elsewhere than on x86-64 they are empty.
# -O3 where the elementwise loops are to be vectorised; no vectors where single elements are written and read in turn.
AVX2   := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
ifeq ($(VARIANT)-$(findstring clang,$(CC)),asan-)
# gcc aligns ASan's second stack for 32 bytes (GCC bug 110027): too little for these vectors.
# Following every variable through the unrolled kernels would take gcc a minute.
AVX512 += --param=asan-use-after-return=0 -fno-var-tracking
endif
ifneq ($(filter x86_64%,$(shell $(CC) -dumpmachine)),)
$(OBJ)/verify/tensor/%_avx2.o $(OBJ)/draft/train/%_avx2.o: ARCH := $(AVX2)
$(OBJ)/verify/tensor/%_avx512.o $(OBJ)/draft/train/%_avx512.o: ARCH := $(AVX512)
$(OBJ)/verify/tensor/%_vnni.o: ARCH := $(AVX512) -mavx512vnni
endif
ifeq ($(VARIANT),plain)
$(OBJ)/verify/tensor/ops_%.o: OPT := -O3
$(OBJ)/draft/train/%.o: OPT := -O3
$(OBJ)/draft/mix_model.o: OPT := -O3
$(OBJ)/draft/mix_tree.o: OPT := -fno-tree-vectorize -fno-tree-slp-vectorize
endif

# ---- targets --------------------------------------------------------------

.DEFAULT_GOAL := default
.DELETE_ON_ERROR:
.SUFFIXES:
# The value of a variable, for the check scripts.
print-%: FORCE
	@echo '$($*)'

.PHONY: default all lib tests thread-tests fuzzers examples deps demo check bench soak models comparison study priors asan tsan \
        fuzz format lint install uninstall clean help FORCE

default: lib $(SPECBENCH)

lib: $(LIB_A) $(if $(filter plain,$(VARIANT)),$(LIB_SO))

all: default tests fuzzers examples

tests: $(TESTS)
thread-tests: $(THREAD_TESTS)
fuzzers: $(FUZZERS)
examples: $(EXAMPLES)

help:
	@echo 'make             build/specbench, build/libspecdec.a, build/libspecdec.so'
	@echo 'make demo        set up, build, and compare the drafters on a generated workload'
	@echo 'make check       set up, build, and run every test (SEED=N picks the random cases)'
	@echo 'make all         everything that can be built, tests and examples too'
	@echo 'make deps        install the Debian packages that building and testing need'
	@echo 'make bench       measure the speed and size of the suffix index'
	@echo 'make soak        lossless on SOAK=100000 tokens for each drafter and law (an hour)'
	@echo 'make asan tsan   the tests under sanitizers'
	@echo 'make models      trains the built-in models on CORPUS=../shared/corpus (three hours)'
	@echo 'make comparison  measures every drafter on the built-in models (half an hour)'
	@echo 'make study       every drafter on the traces in TRACES=../shared/traces (an hour or two)'
	@echo 'make priors      teaches the drafter mix anew: draft/mix_priors.c, from the traces in TRACES (a minute)'
	@echo 'make fuzz        libFuzzer on every target, FUZZ_SECONDS=60 each (needs clang)'
	@echo 'make format      clang-format in place'
	@echo 'make lint        format, clang-tidy, cppcheck and shellcheck, where installed'
	@echo 'make install     to DESTDIR and prefix=/usr/local; make uninstall takes it back'
	@echo 'make clean       removes build/'
	@echo 'Settings: CC=gcc|clang CFLAGS= VARIANT=plain|asan|tsan|fuzz WERROR=0|1 V=0|1'

deps:
	@CC='$(CC)' CXX='$(CXX)' tests/deps.sh check

demo:
	@CC='$(CC)' CXX='$(CXX)' tests/deps.sh demo
	@$(MAKE) --no-print-directory default
	@build/specbench demo

check:
	@CC='$(CC)' CXX='$(CXX)' tests/deps.sh check
	@CC='$(CC)' CXX='$(CXX)' MAKE='$(MAKE)' tests/check_all.sh

bench: default
	build/specbench speed

# Everything that bench/models/ holds, trained anew; and what docs/COMPARISON.md was made of.
MODELS_OUT ?= build/models
CORPUS     ?= ../shared/corpus
models: default
	@CC='$(CC)' CXX='$(CXX)' tests/deps.sh models
	bench/train_models.sh $(MODELS_OUT) $(CORPUS)

comparison: default
	bench/comparison.sh build/comparison

TRACES ?= ../shared/traces
study: default
	@CC='$(CC)' CXX='$(CXX)' tests/deps.sh study
	bench/priors.sh build/study/priors $(TRACES)
	bench/study.sh build/study $(TRACES) 'mix mix:priors=build/study/priors/%s.mix'

priors: default
	bench/priors.sh build/priors $(TRACES) draft/mix_priors.c

SOAK ?= 100000
soak: $(OUT)/tests/test_lossless
	SOAK=$(SOAK) $<

asan tsan:
	@CC='$(CC)' CXX='$(CXX)' tests/deps.sh check
	@CC='$(CC)' CXX='$(CXX)' MAKE='$(MAKE)' tests/check_all.sh $@

FUZZ_SECONDS ?= 60
fuzz:
	@CC=clang CXX=clang++ tests/deps.sh fuzz
	@$(MAKE) --no-print-directory CC=clang VARIANT=fuzz fuzzers
	@tests/check_fuzz.sh search build/fuzz $(FUZZ_SECONDS)

FORMATTED = $(ALL_SRC) $(wildcard *.h */*.h */*/*.h)
format:
	clang-format -i $(FORMATTED)

lint:
	@tests/check_lint.sh $(sort $(FORMATTED))

clean:
	rm -rf build

# ---- rules ----------------------------------------------------------------

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(Q),@echo '  $(1)')

# A stamp is rewritten only when its text changes, and what depends on it is then made again.
define stamp
	@mkdir -p $(@D)
	@echo '$(strip $(1))' | cmp -s - $@ || echo '$(strip $(1))' > $@
endef

$(OBJ)/flags: FORCE
	$(call stamp,$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(WARNINGS))

$(OUT)/flags: FORCE
	$(call stamp,$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(SO_LDFLAGS) $(LIB_SRC) $(TRAIN_SRC) $(BENCH_SRC) $(HELPER_SRC))

$(OBJ)/%.o: %.c $(OBJ)/flags
	@mkdir -p $(@D)
	$(call say,CC $<)
	$(Q)$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(WARNINGS) $(ARCH) $(OPT) $(INC_$(patsubst %/,%,$(dir $<))) -MMD -MP -c -o $@ $<

define archive
	$(call say,AR $@)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)
endef

$(LIB_A): $(call objects,$(LIB_SRC)) $(OUT)/flags
	$(archive)

$(OBJ)/libtrain.a: $(call objects,$(TRAIN_SRC)) $(OUT)/flags
	$(archive)

$(OBJ)/libbench.a: $(call objects,$(BENCH_SRC)) $(OUT)/flags
	$(archive)

$(OBJ)/libhelpers.a: $(call objects,$(HELPER_SRC)) $(OUT)/flags
	$(archive)

$(OUT)/$(LIB_REAL): $(call objects,$(LIB_SRC)) $(OUT)/flags
	$(call say,LD $@)
	$(Q)$(CC) $(SO_LDFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LIB_LIBS)

$(LIB_SO): $(OUT)/$(LIB_REAL)
	$(Q)ln -sf $(LIB_REAL) $(OUT)/libspecdec.so.$(ABI)
	$(Q)ln -sf libspecdec.so.$(ABI) $@

define program
	@mkdir -p $(@D)
	$(call say,LD $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^) $(1) $(LIB_LIBS)
endef

$(OUT)/specbench: $(call objects,$(BENCH_MAIN)) $(BENCH_A) $(TRAIN_A) $(LIB_A) $(OUT)/flags
	$(call program,)

$(TESTS): $(OUT)/tests/%: $(OBJ)/tests/%.o $(HELPER_A) $(BENCH_A) $(TRAIN_A) $(LIB_A) $(OUT)/flags
	$(call program,-lcmocka)

# With libFuzzer its own main runs the target; otherwise fuzz_main.c replays files.
FUZZ_DRIVER := $(if $(filter fuzz,$(VARIANT)),,$(OBJ)/tests/fuzz_main.o)
$(FUZZERS): $(OUT)/tests/%: $(OBJ)/tests/%.o $(FUZZ_DRIVER) $(HELPER_A) $(BENCH_A) $(TRAIN_A) $(LIB_A) $(OUT)/flags
	$(call program,$(if $(FUZZ_DRIVER),,-fsanitize=fuzzer) -lcmocka)

$(EXAMPLES): $(OUT)/examples/%: $(OBJ)/examples/%.o $(LIB_A) $(OUT)/flags
	$(call program,)

-include $(patsubst %.o,%.d,$(call objects,$(ALL_SRC)))

# ---- installing -----------------------------------------------------------

$(OUT)/specdec.pc: specdec.pc.in specdec.h FORCE
	$(Q)mkdir -p $(@D)
	$(Q)sed -e 's|@prefix@|$(prefix)|' -e 's|@libdir@|$(libdir)|' -e 's|@includedir@|$(includedir)|' \
	    -e 's|@version@|$(VERSION)|' -e 's|@libs_private@|$(LIB_LIBS) -pthread|' specdec.pc.in > $@

install: default $(OUT)/specdec.pc
	$(INSTALL) -d $(DESTDIR)$(includedir)/specdec $(DESTDIR)$(libdir) $(DESTDIR)$(pkgconfigdir) $(DESTDIR)$(bindir)
	$(INSTALL) -m 644 $(HEADERS) $(DESTDIR)$(includedir)/specdec
	$(INSTALL) -m 644 $(LIB_A) $(DESTDIR)$(libdir)
	$(INSTALL) -m 755 $(OUT)/$(LIB_REAL) $(DESTDIR)$(libdir)
	ln -sf $(LIB_REAL) $(DESTDIR)$(libdir)/libspecdec.so.$(ABI)
	ln -sf libspecdec.so.$(ABI) $(DESTDIR)$(libdir)/libspecdec.so
	$(INSTALL) -m 644 $(OUT)/specdec.pc $(DESTDIR)$(pkgconfigdir)
	$(if $(SPECBENCH),$(INSTALL) -m 755 $(SPECBENCH) $(DESTDIR)$(bindir))
	$(if $(MODELS),$(INSTALL) -d $(DESTDIR)$(datadir)/specdec)
	$(if $(MODELS),$(INSTALL) -m 644 $(MODELS) $(DESTDIR)$(datadir)/specdec)

uninstall:
	rm -rf $(DESTDIR)$(includedir)/specdec $(DESTDIR)$(datadir)/specdec
	rm -f $(DESTDIR)$(libdir)/libspecdec.a $(DESTDIR)$(libdir)/$(LIB_REAL) \
	    $(DESTDIR)$(libdir)/libspecdec.so.$(ABI) $(DESTDIR)$(libdir)/libspecdec.so \
	    $(DESTDIR)$(pkgconfigdir)/specdec.pc $(DESTDIR)$(bindir)/specbench
