"""``python -m fiberloom``: the command line."""

from fiberloom.cli import main

if __name__ == "__main__":
    main()
