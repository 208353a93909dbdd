# pg_architect. Parses on a machine with neither PostgreSQL nor Python; what needs pg_config is in pgxs.mk
# (PGXS also overwrites VERSION and defines `check`, which are ours here).
#
#   make setup      everything that needs root or the network: packages, pgvector, test tools
#   make            assemble the extension scripts, fetch the wheels
#   make install    copy (honours DESTDIR and PG_CONFIG; no network)
#   make check      all of the above, lint and every test
#   make demo       a private cluster, a workload, one measured improvement; `make demo-stop` ends it

SHELL := /bin/sh
VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_architect.control)
PREVIOUS := $(filter-out $(VERSION),$(notdir $(wildcard migrations/*)))
SCRIPTS := extension/pg_architect--$(VERSION).sql \
	$(foreach from,$(PREVIOUS),extension/pg_architect--$(from)--$(VERSION).sql)
SOURCES := pg_architect.control tools/assemble $(shell find sql migrations -name '*.sql' 2>/dev/null)
VENV := build/venv/bin
RELEASED := $(shell sed -n 's/^[0-9a-f]* [ *]*\(.*\.sql\)$$/extension\/\1/p' extension/frozen.txt 2>/dev/null)
PGXS_MAKE = $(MAKE) --no-print-directory -f pgxs.mk PG_CONFIG="$$(tools/pg-config)" \
	DATA='$(sort $(SCRIPTS) $(RELEASED))'

.PHONY: all setup deps install uninstall installed installcheck check lint golden bench demo demo-stop clean
all: $(SCRIPTS) deps

# A removed source file leaves no newer one behind: the list itself is a prerequisite.
build/sources: FORCE
	@mkdir -p build && echo '$(sort $(SOURCES))' | cmp -s - $@ || echo '$(sort $(SOURCES))' >$@
FORCE:

extension/pg_architect--$(VERSION).sql: $(SOURCES) build/sources
	@mkdir -p extension
	tools/assemble $(VERSION) >$@.part && mv $@.part $@

extension/pg_architect--%--$(VERSION).sql: $(SOURCES) build/sources
	@mkdir -p extension
	tools/assemble $* $(VERSION) >$@.part && mv $@.part $@

deps:
	@tools/fetch-deps

setup:
	@tools/setup

install: $(SCRIPTS)
	@{ $(PGXS_MAKE) install && tools/install-python $(VERSION); } || \
		{ [ `id -u` -eq 0 ] || echo 'install: if permission was denied, run   sudo make install' >&2; exit 1; }

uninstall:
	@$(PGXS_MAKE) uninstall
	@rm -f "$(DESTDIR)$$("$$(tools/pg-config)" --bindir)/architect"

# Install only what differs: a user without root can run the tests of what root has installed.
installed: all
	@tools/installed $(VERSION) || $(MAKE) --no-print-directory install

installcheck:
	@tools/pgtap

# Set-up may bring the tools that the rest needs, so that the rest runs in a second make.
check: setup
	@$(MAKE) --no-print-directory installed
	@tools/check

lint:
	@tools/lint

golden: setup
	@$(MAKE) --no-print-directory installed
	@tools/check --golden

bench: setup
	@$(MAKE) --no-print-directory installed
	@tests/bench/run

demo: setup
	@$(MAKE) --no-print-directory installed
	@demo/run

demo-stop:
	@demo/stop

clean:
	rm -rf build $(filter-out $(RELEASED),$(SCRIPTS))
