"""`python -m tledge`."""

import sys

if __name__ == "__main__":
    try:
        from tledge.cli.main import main
    except KeyboardInterrupt:  # while this loads, nothing has been done yet
        sys.exit(130)
    main()
