"""`python -m tledge`."""

from tledge.cli import main

if __name__ == "__main__":
    main()
