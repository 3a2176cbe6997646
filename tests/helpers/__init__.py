"""What several test files share: small models, bundles and runs, damaged files, ways to run a command."""
