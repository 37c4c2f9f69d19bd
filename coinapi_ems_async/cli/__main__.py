"""`python -m coinapi_ems_async.cli`."""

from . import main

main()
