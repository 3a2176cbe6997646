"""Try on purpose what happens to real tools, and check that tledge survives it: `python -m torture`.

`cases` holds the groups of cases, `inputs` builds the damaged and hostile files that they use, `workers` are
programs that they start in processes of their own, and `support` is the code that they share.
"""
