"""`python -m coinapi_ems_async.cli`."""

from coinapi_ems_command import main

main()
