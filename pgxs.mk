# The part of the build that is PGXS. Called by the Makefile, never by hand, with PG_CONFIG and DATA.
EXTENSION = pg_architect
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)
