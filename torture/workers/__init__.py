"""Programs that the cases start in processes of their own: `python -m torture.workers.NAME`."""
