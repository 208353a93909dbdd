-- The loader behind every PL/Python function. Their bodies are two lines, load and call:
--
--     api = GD.get("pg_architect @EXTVERSION@") or plpy.execute("select architect._load()") and GD["pg_architect @EXTVERSION@"]
--     return api.some_function(plpy, argument)
--
-- GD's key holds the version, so that a session that updates the extension gets the new code.

create or replace function architect._load()
returns void
language plpython3u
volatile
parallel unsafe
security invoker
set search_path = pg_catalog, pg_temp
as $python$
import ctypes
import importlib
import os
import sys

VERSION = "@EXTVERSION@"

def fail(message, detail, hint):
    # On a class of this name the message reads "pg_architect: ..." instead of "plpy.Error: ...".
    error = type("pg_architect", (plpy.Error,), {"__module__": "builtins"})(message)
    error.sqlstate, error.detail, error.hint = "58P01", detail, hint
    raise error

# The server's own folder, asked at run time: pg_upgrade and standbys may have it elsewhere.
pkglib = (ctypes.c_char * 1024).in_dll(ctypes.CDLL(None), "pkglib_path").value.decode()
home = os.path.join(pkglib, "pg_architect")
code = os.path.join(home, VERSION)
try:
    with open(os.path.join(code, "deps.txt"), encoding="utf-8") as file:
        dependencies = os.path.join(home, file.read().strip())
except OSError as error:
    fail(f"the Python code of version {VERSION} is not installed on this server", str(error),
         "Install the same version of pg_architect on this machine (make install, or its package).")

def of_another_version(path):
    return path.startswith(home + os.sep) and not path.startswith(dependencies + os.sep)

# Forget the code of other versions and their dependencies; shared dependencies stay, because C libraries
# may not be loaded twice.
for name, module in list(sys.modules.items()):
    if of_another_version(getattr(module, "__file__", None) or ""):
        del sys.modules[name]
sys.path[:] = [code, dependencies] + [entry for entry in sys.path if not entry.startswith(home + os.sep)]
importlib.invalidate_caches()

GD["pg_architect " + VERSION] = importlib.import_module("pg_architect.api")
$python$;

comment on function architect._load() is
    'Loads the Python code of this version into the session. Called by every PL/Python function at its first use.';
