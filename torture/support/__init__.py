"""Code that several groups of cases share: processes, work folders, servers and checks."""
