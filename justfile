# The project's commands; `just --list` shows them.

default:
    @just --list

# Build the C library and extension into build/ and put the extension into the package, for work in the checkout.
[positional-arguments]
build *OPTIONS:
    cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DPython_EXECUTABLE="$(command -v python)" \
        -DFASTRNN_ISAS= "$@"
    cmake --build build
    cp --remove-destination build/_fastrnn.abi3.so fastrnn/

# The sdist and the wheel into dist/, audited, and checked where there is no compiler; `just wheel --tests`: quick tests too.
wheel *OPTIONS:
    .ci/wheel {{OPTIONS}}

# The wheels that are published, in cibuildwheel's containers (Docker) or on macOS, into wheelhouse/.
wheels:
    python -m cibuildwheel --output-dir wheelhouse

# Whether a tag is the package's version, and the changelog has its date.
check-tag TAG:
    python .ci/check_tag.py {{TAG}}

# Quick tests; `just test -m slow` for the rest, `just test` with no words for all.
test *ARGS:
    pytest -n auto {{ARGS}}

# The kernels' tests under AddressSanitizer, UndefinedBehaviorSanitizer and ThreadSanitizer, by the compiler CC.
sanitize:
    pytest tests/test_c_library.py -k sanitize

# Coverage-guided fuzzing of the readers of strangers' files (`pip install -e ".[fuzz]"`); `just fuzz midi --seconds 600`.
fuzz *ARGS:
    python tests/fuzz/fuzz.py {{ARGS}}

# Some quick tests, each in four threads at once (`pip install pytest-run-parallel`).
parallel *TESTS="tests/test_losses.py tests/test_layers_small.py tests/test_optim.py tests/test_stack.py tests/test_functional_errors.py":
    pytest -n 0 --parallel-threads 4 -m "not slow" {{TESTS}}

# The C library under libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer, by clang: `just fuzz-c -max_total_time=600`.
# ISAS chooses the ISAs (empty: all), because clang takes half a minute for each file of amx: `ISAS="amx;avx2" just fuzz-c`.
fuzz-c *ARGS="-max_total_time=60":
    cmake -S . -B build/fuzz-c -G Ninja -DCMAKE_C_COMPILER="${CC:-clang}" -DFASTRNN_PYTHON=OFF -DFASTRNN_SANITIZE=fuzzer \
        "-DFASTRNN_ISAS=${ISAS-{{ if arch() == "x86_64" { "avx512;avx2" } else { "" } }}}"
    cmake --build build/fuzz-c --target fuzz_library
    mkdir -p build/fuzz/library
    ./build/fuzz-c/fuzz_library -rss_limit_mb=1024 -artifact_prefix=build/fuzz/library/fault- {{ARGS}} build/fuzz/library

# 1,000 kills of a training, and eight threads that call, fork and change weights for ten minutes.
harden KILLS="1000" SECONDS="600":
    pytest tests/test_killed.py -k random_times --kills {{KILLS}}
    python tests/thread_stress.py {{SECONDS}}

# Everything beside every installed peer, into docs/performance.md; `just bench report` only writes it anew.
bench *ARGS="run":
    python -m bench {{ARGS}}

# oneDNN's last build for OpenMP, into a prefix of its own: beside the current one it would overwrite files.
bench-onednn-omp:
    pip install --no-deps --prefix build/onednn-omp onednn-cpu-gomp==2023.2.0 onednn-devel-cpu-gomp==2023.2.0

lint: lint-c
    ruff check .
    ruff format --check .
    clang-format --dry-run --Werror csrc/*.[ch] csrc/kernels/*.[ch] tests/c/*.[ch] tests/fuzz/*.[ch]
    mypy
    lint-imports --no-logo

# Clang's warnings about the C library are errors: it sees some that GCC does not. Without Clang, they are not looked for.
lint-c:
    if command -v clang > /dev/null; then \
      cmake -S . -B build/lint -G Ninja --log-level=ERROR -DCMAKE_C_COMPILER=clang -DCMAKE_C_FLAGS=-Werror \
        -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O0 -DFASTRNN_PYTHON=OFF > /dev/null \
      && cmake --build build/lint; \
    fi

# Rewrite to the house style.
format:
    ruff check --fix .
    ruff format .
    clang-format -i csrc/*.[ch] csrc/kernels/*.[ch] tests/c/*.[ch] tests/fuzz/*.[ch]

# The documentation site, into site/; a warning or a broken link within it is an error.
docs:
    sphinx-build --fail-on-warning --keep-going --quiet -d build/doctrees docs site
    python docs/_site/links.py site

# The links of the documentation to other sites; needs the network.
links:
    sphinx-build -b linkcheck --quiet -d build/doctrees docs build/links

# The pictures of docs/kernels.md and docs/zoo.md.
figures:
    python docs/figures/draw.py
    python docs/figures/architectures.py
