"""`python -m poolwise` equals `poolwise`."""

from poolwise.cli.main import main

main()
